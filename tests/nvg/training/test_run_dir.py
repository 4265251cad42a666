"""The run directory: its recipe, its metrics, and who may continue it."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import WorkError
from nvg.training.run_dir import Run, RunError
from tests.makers import files_below, tiny_recipe
from tests.nvg.training.makers import lines_of

DECISIVE = ("data", "autoencoder")


def begun(path: Path) -> Run:
    """A new run of the tiny recipe."""
    run = Run(path, tiny_recipe(), False, DECISIVE)
    run.begin(0)
    return run


def test_a_new_run_holds_its_resolved_recipe(tmp_path: Path) -> None:
    """config.toml repeats the run: read again it is the same recipe."""
    from nvg.config import load
    from pipeline.recipe import Recipe

    recipe = tiny_recipe("images")
    Run(tmp_path / "run", recipe, False, DECISIVE).begin(0)
    assert load(Recipe, tmp_path / "run" / "config.toml") == recipe


def test_a_run_without_resume_is_not_overwritten(tmp_path: Path) -> None:
    """A directory with a checkpoint is refused unless it is to be continued."""
    begun(tmp_path).checkpoints.save(1, {}, {})
    with pytest.raises(RunError, match="--resume"):
        Run(tmp_path, tiny_recipe(), False, DECISIVE)
    assert Run(tmp_path, tiny_recipe(), True, DECISIVE).checkpoints.steps() == [1]


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_recipe_is_refused_by_key(tmp_path: Path, resume: bool) -> None:
    """The message names the directory and the key that differs, and nothing is changed."""
    begun(tmp_path).checkpoints.save(1, {}, {})
    before = (tmp_path / "config.toml").read_bytes()
    section = tiny_recipe().autoencoder
    other = replace(section, train=replace(section.train, lr=0.5))
    with pytest.raises(RunError, match=r"autoencoder\.train\.lr") as caught:
        Run(tmp_path, tiny_recipe(autoencoder=other), resume, DECISIVE)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "config.toml").read_bytes() == before


def test_sections_that_do_not_matter_may_change(tmp_path: Path) -> None:
    """The tokenizer's run goes on when only the generators' recipe was edited."""
    begun(tmp_path).checkpoints.save(1, {}, {})
    other = replace(tiny_recipe().generator, train=replace(tiny_recipe().generator.train, lr=0.5))
    Run(tmp_path, tiny_recipe(generator=other), True, DECISIVE)


def test_named_runs_of_one_directory_do_not_meet(tmp_path: Path) -> None:
    """Checkpoints and metrics of `content` are not those of `structure`."""
    first, second = (Run(tmp_path, tiny_recipe(), False, DECISIVE, n) for n in ("a", "b"))
    first.checkpoints.save(5, {}, {})
    first.log(step=5)
    first.close()
    assert (first.start_step(), second.start_step()) == (5, 0)
    assert not second.metrics_path.exists()


def test_metrics_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    """Lines of steps that will be run again go, and so does a line cut off by a crash."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    run.checkpoints.save(4, {}, {})
    for step in range(2, 9, 2):
        run.log(step=step)
    with run.metrics_path.open("a") as file:
        file.write('"damaged"\n{"step": 1')
    run.close()
    assert run.start_step() == 4
    run.begin(4)
    assert lines_of(run.metrics_path) == [{"step": 2}, {"step": 4}]


def test_metrics_without_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    """A run that died before its first checkpoint starts from an empty log."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    run.log(step=1)
    run.close()
    assert run.start_step() == 0
    run.begin(0)
    assert run.metrics_path.read_text() == ""


def test_nothing_is_written_before_a_run_begins(tmp_path: Path) -> None:
    """Neither a directory for a new run, nor a file or a metric line of one that is resumed."""
    Run(tmp_path / "new", tiny_recipe(), False, DECISIVE)
    assert not (tmp_path / "new").exists()
    run = begun(tmp_path / "old")
    run.checkpoints.save(1, {}, {})
    run.log(step=3)
    run.close()
    before = files_below(tmp_path / "old")
    train = replace(tiny_recipe().autoencoder.train, log_every=1)
    other = tiny_recipe(autoencoder=replace(tiny_recipe().autoencoder, train=train))
    assert Run(tmp_path / "old", other, True, DECISIVE).start_step() == 1
    assert files_below(tmp_path / "old") == before


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl"])
def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Config and metrics are replaced whole or not at all, and one line says what to do."""
    run = begun(tmp_path)
    run.checkpoints.save(2, {}, {})
    run.log(step=1)
    run.log(step=3)
    run.close()
    before = files_below(tmp_path)
    real = os.fsync

    def full(descriptor: int) -> None:
        if name in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match=r"No space left on device.*--resume"):
        run.begin(2)
    assert files_below(tmp_path) == before
