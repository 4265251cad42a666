"""From a folder of images to generated ones, by the command line alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from nvg.config import dump
from nvg.store import open_store
from tests.makers import png_size, tiny_recipe, write_image_folder

STEPS = 10
COMMANDS = {  # @ is the directory of this run
    "autoencoder": "train autoencoder @recipe.toml --out @tok",
    "tokenize": "tokenize @recipe.toml --tokenizer @tok --out @tokens.vgs --engine inline",
    "verify": "verify @tokens.vgs",
    "inspect": "inspect @tokens.vgs --row 5 --png @row.png",
    "generator": "train generator @recipe.toml --store @tokens.vgs --out @gen",
    "sample": "sample @gen --png @sample.png -n 2 --label bee --label ant",
}


def command(text: str, root: Path) -> Result:
    """Run one command line."""
    words = [word.replace("@", f"{root}/") for word in text.split()]
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Result]]:
    """The whole path, run once: where everything lies, and what each command said."""
    root = tmp_path_factory.mktemp("end_to_end")
    write_image_folder(root / "images")
    (root / "images" / "cat" / "004.png").write_bytes(b"not an image")
    recipe = tiny_recipe(root / "images")
    tokenizer = replace(recipe.autoencoder, train=replace(recipe.autoencoder.train, steps=STEPS))
    generator = replace(recipe.generator, train=replace(recipe.generator.train, steps=STEPS))
    dump(replace(recipe, autoencoder=tokenizer, generator=generator), root / "recipe.toml")
    return root, {name: command(text, root) for name, text in COMMANDS.items()}


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_succeeds(made: tuple[Path, dict[str, Result]], verb: str) -> None:
    """Exit code 0, and something to read on standard output."""
    result = made[1][verb]
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip()


def test_the_store_holds_every_image(made: tuple[Path, dict[str, Result]]) -> None:
    """Thirteen files make thirteen rows; the one that is no image is an error row."""
    store = open_store(str(made[0] / "tokens.vgs"))
    assert len(store) == 13
    assert store.finished
    rows = store.index.to_pylist()
    bad = [(row["key"], row["reason"]) for row in rows if row["status"] != "ok"]
    assert bad == [("cat/004.png", "not an image")]
    assert "13 images, 1 errors" in made[1]["tokenize"].stdout


def test_both_trainings_ran_to_the_last_step(made: tuple[Path, dict[str, Result]]) -> None:
    """The last line of each log is step 10."""
    for run in ("tok", "gen"):
        lines = (made[0] / run / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == STEPS


def test_inspect_draws_the_hierarchy(made: tuple[Path, dict[str, Result]]) -> None:
    """Original, five maps, canvases, residuals: tiles of 96 below a header, beside three names."""
    names = 8 + len("residual") * 7
    assert png_size(made[0] / "row.png") == (names + 6 * 100, 18 + 3 * 100)


def test_sample_draws_what_was_asked_for(made: tuple[Path, dict[str, Result]]) -> None:
    """Two classes, two images each: tiles of 64, below a gap, beside names of three letters."""
    assert png_size(made[0] / "sample.png") == (8 + 3 * 7 + 2 * 68, 4 + 2 * 68)


def test_sampling_again_repeats_the_picture(
    made: tuple[Path, dict[str, Result]], tmp_path: Path
) -> None:
    """The same seed and classes give the same bytes, another seed others."""
    root, _ = made
    for seed in (0, 1):
        text = f"sample @gen --png {tmp_path}/{seed}.png -n 2 --label 1 --label 0 --seed {seed}"
        assert command(text, root).exit_code == 0
    assert (tmp_path / "0.png").read_bytes() == (root / "sample.png").read_bytes()
    assert (tmp_path / "1.png").read_bytes() != (root / "sample.png").read_bytes()
