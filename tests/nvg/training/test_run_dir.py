"""The run directory: its recipe, its metrics, and who may continue it."""

from dataclasses import replace
from pathlib import Path

import pytest

from nvg.training.run_dir import Run, RunError
from tests.makers import tiny_recipe
from tests.nvg.training.makers import lines_of

DECISIVE = ("data", "autoencoder")


def test_a_new_run_holds_its_resolved_recipe(tmp_path: Path) -> None:
    """config.toml repeats the run: read again it is the same recipe."""
    from nvg.config import load
    from pipeline.recipe import Recipe

    recipe = tiny_recipe("images")
    Run(tmp_path / "run", recipe, False, DECISIVE)
    assert load(Recipe, tmp_path / "run" / "config.toml") == recipe


def test_a_run_without_resume_is_not_overwritten(tmp_path: Path) -> None:
    """A directory with a checkpoint is refused unless it is to be continued."""
    Run(tmp_path, tiny_recipe(), False, DECISIVE).checkpoints.save(1, {}, {})
    with pytest.raises(RunError, match="--resume"):
        Run(tmp_path, tiny_recipe(), False, DECISIVE)
    assert Run(tmp_path, tiny_recipe(), True, DECISIVE).checkpoints.steps() == [1]


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_recipe_is_refused_by_key(tmp_path: Path, resume: bool) -> None:
    """The message names the directory and the key that differs, and nothing is changed."""
    Run(tmp_path, tiny_recipe(), False, DECISIVE).checkpoints.save(1, {}, {})
    before = (tmp_path / "config.toml").read_bytes()
    section = tiny_recipe().autoencoder
    other = replace(section, train=replace(section.train, lr=0.5))
    with pytest.raises(RunError, match=r"autoencoder\.train\.lr") as caught:
        Run(tmp_path, tiny_recipe(autoencoder=other), resume, DECISIVE)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "config.toml").read_bytes() == before


def test_sections_that_do_not_matter_may_change(tmp_path: Path) -> None:
    """The tokenizer's run goes on when only the generators' recipe was edited."""
    Run(tmp_path, tiny_recipe(), False, DECISIVE).checkpoints.save(1, {}, {})
    other = replace(tiny_recipe().generator, train=replace(tiny_recipe().generator.train, lr=0.5))
    Run(tmp_path, tiny_recipe(generator=other), True, DECISIVE)


def test_named_runs_of_one_directory_do_not_meet(tmp_path: Path) -> None:
    """Checkpoints and metrics of `content` are not those of `structure`."""
    first, second = (Run(tmp_path, tiny_recipe(), False, DECISIVE, n) for n in ("a", "b"))
    first.checkpoints.save(5, {}, {})
    first.log(step=5)
    assert (first.start_step(), second.start_step()) == (5, 0)
    assert not second.metrics_path.exists()


def test_metrics_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    """Lines of steps that will be run again go, and so does a line cut off by a crash."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    run.checkpoints.save(4, {}, {})
    for step in range(2, 9, 2):
        run.log(step=step)
    with run.metrics_path.open("a") as file:
        file.write('{"step": 1')
    assert run.start_step() == 4
    assert lines_of(run.metrics_path) == [{"step": 2}, {"step": 4}]


def test_metrics_without_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    """A run that died before its first checkpoint starts from an empty log."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    run.log(step=1)
    assert run.start_step() == 0
    assert run.metrics_path.read_text() == ""
