"""What version 0.1 left behind opens, resumes and samples as it did then.

tests/golden/v0.1 holds images, a recipe with that version's key names, a tokenizer's run that
stopped at step 2 of 4, the store of its tokens, a generators' run that stopped at step 3 of 6 and
images drawn from it. It was made with two threads, on which the last bit of a residual depends.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from cli.app import app
from nvg.format.record import INDEX
from nvg.store import open_store
from tests.makers import files_below

pytestmark = pytest.mark.thorough

GOLDEN = Path(__file__).parent / "golden" / "v0.1"


@pytest.fixture(autouse=True)
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy as the current directory, which the recipe's path is relative to."""
    shutil.copytree(GOLDEN, tmp_path / "v0.1")
    monkeypatch.chdir(tmp_path / "v0.1")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield tmp_path / "v0.1"
    torch.set_num_threads(threads)


def nvgctl(text: str) -> Result:
    """Run a command line that must succeed."""
    result = CliRunner().invoke(app, text.split(), prog_name="nvgctl")
    assert result.exit_code == 0, result.stderr
    return result


def losses(run: Path) -> dict[int, float]:
    """The loss of every step that was logged."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_a_store_opens_and_is_intact() -> None:
    """Every chunk, the index and the weights are as they were written."""
    store = open_store("tokens.vgs")
    assert store.finished
    assert store.verify() == []


def test_a_recipe_is_read_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It tells all the old names at once, and the store is what the recipe asks for."""
    before = files_below("tokens.vgs")
    nvgctl("tokenize recipe.toml --tokenizer autoencoder --out tokens.vgs --resume")
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for name in ("index_steps", "revive_after", "adversary", "null_share"):
        assert f".{name} (now " in warning
    assert files_below("tokens.vgs") == before


def test_a_lost_chunk_is_rebuilt_to_the_same_bytes() -> None:
    """Tokens, checksums and names of files have not changed since, but for further checksums."""
    before = files_below("tokens.vgs")
    chunk = next(path for path in Path("tokens.vgs/content/c/1").rglob("*") if path.is_file())
    chunk.unlink()
    Path("tokens.vgs/commits/00001.json").unlink()
    nvgctl("tokenize recipe.toml --tokenizer autoencoder --out tokens.vgs --resume --engine inline")
    after = files_below("tokens.vgs")
    for name, inner in (("manifest.json", None), ("commits/00001.json", "sha256")):
        table, wanted = json.loads(after.pop(name)), json.loads(before.pop(name))
        if inner:
            del table[inner][INDEX]
        else:
            del table["sha256"]
        assert table == wanted
    assert after == before


@pytest.mark.parametrize(
    ("verb", "steps"), [("generator --store tokens.vgs", (4, 5, 6)), ("autoencoder", (4,))]
)
def test_a_run_is_resumed(old: Path, verb: str, steps: tuple[int, ...]) -> None:
    """From its checkpoint on, the losses are those that version had."""
    name, _, more = verb.partition(" ")
    before = losses(old / name)
    nvgctl(f"train {name} recipe.toml {more} --out {name} --resume")
    after = losses(old / name)
    assert {step: after[step] for step in steps} == pytest.approx(
        {step: before[step] for step in steps}, rel=1e-4
    )


def test_samples_are_the_same(old: Path) -> None:
    """The same images but for a rounding here and there."""
    nvgctl("sample generator -n 2 --seed 1 --npz new.npz")
    with np.load("new.npz") as found, np.load("samples.npz") as wanted:
        assert found.files == wanted.files
        for name in wanted.files:
            apart = np.abs(found[name].astype(int) - wanted[name].astype(int))
            assert found[name].shape == wanted[name].shape
            assert np.mean(apart <= 2) >= 0.99


def test_tokens_are_shown_the_same() -> None:
    """Every stage's tokens and map."""
    shown = nvgctl("inspect tokens.vgs --row 1").stdout

    def tokens(text: str) -> list[str]:
        return [line.rpartition("tokens")[2] for line in text.splitlines() if "tokens" in line]

    wanted = tokens(Path("inspect_row.txt").read_text())
    assert len(wanted) == 5
    assert tokens(shown) == wanted
