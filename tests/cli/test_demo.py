"""The demo: its check can tell good digits from bad, and its steps hang together."""

from pathlib import Path

import numpy as np
import pytest

from cli import demo
from nvg.config import dump
from pipeline.images.blocks import RowImages
from pipeline.recipe import Recipe, load_recipe
from pipeline.sources import open_source, split_rows

SMALL = [
    "autoencoder.model.base_channels=8",
    "autoencoder.train.steps=3",
    "autoencoder.train.batch_size=16",
    "generator.content.depth=1",
    "generator.content.width=32",
    "generator.content.heads=1",
    "generator.structure.depth=1",
    "generator.structure.width=32",
    "generator.structure.heads=1",
    "generator.train.steps=3",
    "generator.train.batch_size=16",
    "sample.flow_steps=2",
]


def heldout_digits(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Pixels and labels of the real digits that are held out."""
    source = open_source(recipe.data)
    _, rows = split_rows(source.rows, recipe.data.heldout)
    images = RowImages(source, rows, recipe.autoencoder.model.image_size)
    return images.batch(np.arange(len(rows))).pixels, np.array([row.label for row in rows])


@pytest.mark.thorough
def test_the_classifier_reads_real_digits_and_no_others() -> None:
    """Held-out digits passed off as generated count as right; with other labels they do not."""
    recipe = load_recipe(demo.RECIPE)
    pixels, labels = heldout_digits(recipe)
    real, made = demo.accuracies(recipe, pixels, labels)
    assert real == made
    assert real >= demo.REAL_WANTED
    _, wrong = demo.accuracies(recipe, pixels, (labels + 1) % 10)
    assert wrong < 0.05


@pytest.mark.usefixtures("drawn_curves")
@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings(
    "ignore:Ray Data's internal logging:DeprecationWarning",
    "ignore:The `.*` setting is deprecated:DeprecationWarning",
    "ignore:`.*` is deprecated:DeprecationWarning",
)
def test_all_steps_run_and_are_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Untrained, the check fails; the pictures are there; a second call trains nothing."""
    recipe = tmp_path / "small.toml"
    dump(load_recipe(demo.RECIPE, SMALL), recipe)
    monkeypatch.setattr(demo, "RECIPE", recipe)
    monkeypatch.setattr(demo, "PER_CLASS", 2)
    assert demo.run(tmp_path / "out") is False
    pictures = ["autoencoder/reconstructions.png", "hierarchy.png", "samples.png"]
    pictures.append("generator/curves.png")
    assert all((tmp_path / "out" / name).stat().st_size > 1000 for name in pictures)
    assert "on 20 generated ones" in capsys.readouterr().out
    kept = [*(tmp_path / "out").rglob("step-*/*.safetensors")]
    before = [file.stat().st_mtime_ns for file in kept]
    demo.run(tmp_path / "out")
    assert before
    assert [file.stat().st_mtime_ns for file in kept] == before


def test_a_run_of_another_recipe_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What lies in the demo's folder is not overwritten: exit code 2, one line with the remedy."""
    checkpoint = tmp_path / "autoencoder" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    (tmp_path / "autoencoder" / "config.toml").write_text("[data]\nsource = 'folder'\n")
    monkeypatch.setattr(demo, "OUT", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("demo: ")
    assert "another recipe" in line
