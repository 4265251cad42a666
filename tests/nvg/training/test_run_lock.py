"""Two trainings into one directory: the second is refused, unless they train different parts."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.training.run_lock import run_lock
from pipeline.train import fit_autoencoder, fit_generator
from tests.makers import recipe_over, tiny_recipe
from tests.nvg.store.makers import make_store


@pytest.mark.parametrize("parts", [["content"], ["content", "structure"]])
def test_a_second_training_of_a_part_is_refused(tmp_path: Path, parts: list[str]) -> None:
    """By one line that names the directory and the process; afterwards nothing is left."""
    out = tmp_path / "run"
    with run_lock(out, ["content"]), pytest.raises(InputError, match=r"run is being written by"):
        run_lock(out, parts).__enter__()
    with run_lock(out, parts):
        assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_two_parts_are_trained_at_once(tmp_path: Path) -> None:
    """Each has checkpoints and weights of its own."""
    with run_lock(tmp_path / "run", ["content"]), run_lock(tmp_path / "run", ["structure"]):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_refused_training_holds_nothing(tmp_path: Path) -> None:
    """The locks that it could take are free again."""
    with run_lock(tmp_path / "run", ["structure"]), pytest.raises(InputError):
        run_lock(tmp_path / "run", ["content", "structure"]).__enter__()
    with run_lock(tmp_path / "run", ["content"]):
        assert (tmp_path / "run.content.lock").exists()


def test_a_link_to_a_run_is_that_run(tmp_path: Path) -> None:
    """A lock is of the directory, whatever name leads there."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with run_lock(tmp_path / "run", ["a"]), pytest.raises(InputError, match="is being written"):
        run_lock(tmp_path / "link", ["a"]).__enter__()


def test_weights_of_an_imported_autoencoder_are_not_replaced(tmp_path: Path) -> None:
    """A run that holds weights and no checkpoint is no place for another training."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "autoencoder.safetensors").write_bytes(b"weights")
    with pytest.raises(InputError, match="finished weights and no checkpoint"):
        fit_autoencoder(recipe_over(tmp_path), tmp_path / "run", False)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["autoencoder.safetensors"]


def test_a_second_training_into_a_directory_is_refused(tmp_path: Path) -> None:
    """While the first one runs; nothing is written by the second."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    for parts, fit in (
        (["autoencoder"], lambda: fit_autoencoder(recipe_over(tmp_path), tmp_path / "run", True)),
        (
            ["structure"],
            lambda: fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, True),
        ),
    ):
        with run_lock(tmp_path / "run", parts), pytest.raises(InputError, match="being written"):
            fit()
    assert not (tmp_path / "run").exists()
