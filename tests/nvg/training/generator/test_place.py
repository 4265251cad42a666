"""A training that does not belong into a run directory is refused before it writes anything."""

from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.store import Store
from nvg.training.generator.place import require_place
from pipeline.train import fit_generator
from tests.makers import files_below, tiny_recipe
from tests.nvg.store.makers import make_store

BOTH, CONTENT = list(GeneratorKind), [GeneratorKind.CONTENT]


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A store of another tokenizer."""
    return make_store(tmp_path / "other.vgs", rows=10, codebook_size=8)


@pytest.mark.thorough
@pytest.mark.parametrize("only", [None, "content", "structure"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_survives_a_training_that_is_refused(
    tmp_path: Path, store: Store, other: Store, only: str | None, resume: bool
) -> None:
    """On another store, or of one generator in a run of both: no byte of it changes."""
    out = tmp_path / "run"
    fit_generator(tiny_recipe(), store.path, out, None, False)
    before = files_below(out)
    train = replace(tiny_recipe().generator.train, log_every=1)
    recipe = tiny_recipe(generator=replace(tiny_recipe().generator, train=train))
    with pytest.raises(InputError, match="run"):
        fit_generator(recipe, other.path, out, only, resume)
    if only:
        with pytest.raises(InputError, match="of both generators: continue it without --only"):
            fit_generator(recipe, store.path, out, only, resume)
    assert files_below(out) == before


def test_the_second_generator_is_trained_on_the_store_of_the_first(
    tmp_path: Path, store: Store, other: Store
) -> None:
    """Another's decoder and class names would replace those that the first needs."""
    out = tmp_path / "run"
    fit_generator(tiny_recipe(), store.path, out, "content", False)
    before = files_below(out)
    with pytest.raises(InputError, match=r"trained on another store than .*other\.vgs"):
        fit_generator(tiny_recipe(), other.path, out, "structure", False)
    with pytest.raises(InputError, match="generator alone: continue it with --only content"):
        fit_generator(tiny_recipe(), store.path, out, None, False)
    assert files_below(out) == before
    fit_generator(tiny_recipe(), store.path, out, "structure", False)
    assert (out / "structure.safetensors").exists()


def test_finished_weights_without_a_checkpoint_are_not_replaced(
    tmp_path: Path, store: Store
) -> None:
    """Of a run that was copied without its checkpoints."""
    (tmp_path / "content.safetensors").write_bytes(b"weights")
    for parts in (BOTH, CONTENT):
        with pytest.raises(InputError, match="finished weights and no checkpoint"):
            require_place(tmp_path, parts, store)
    require_place(tmp_path, [GeneratorKind.STRUCTURE], store)


def test_a_run_that_left_nothing_but_a_decoder_is_begun_anew(
    tmp_path: Path, store: Store, other: Store
) -> None:
    """As it is after a kill before the first checkpoint."""
    (tmp_path / "detokenizer.safetensors").write_bytes(other.read("detokenizer.safetensors"))
    require_place(tmp_path, BOTH, store)
