"""Sampling from a checkpoint whose tensors lie in shards of several processes."""

from pathlib import Path

import pytest

from nvg.generator.config import GeneratorKind
from nvg.sampling.generators import load_generators
from nvg.weights import CheckpointError, fingerprint
from tests.nvg.sampling.makers import write_run
from tests.nvg.training.makers import split_in_two


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A finished run."""
    return write_run(tmp_path)


def test_a_checkpoint_in_shards_is_sampled_as_a_whole_one(own: Path) -> None:
    """Each network from the rows of both processes: EMA weights, or raw ones."""
    checkpoint = dict.fromkeys(GeneratorKind, own / "checkpoints" / "step-00000004")
    whole = [load_generators(own, checkpoint, raw) for raw in (False, True)]
    split_in_two(checkpoint[GeneratorKind.CONTENT])
    assert not list(own.rglob("step-00000004/content.safetensors"))
    for raw, expected in enumerate(whole):
        found = load_generators(own, checkpoint, bool(raw))
        assert fingerprint(found.content) == fingerprint(expected.content)
        assert fingerprint(found.structure) == fingerprint(expected.structure)
    assert fingerprint(whole[0].content) != fingerprint(whole[1].content)


def test_a_shard_that_is_missing_is_named(own: Path) -> None:
    """One line with the file that was to be read and what it lacks."""
    checkpoint = own / "checkpoints" / "step-00000004"
    split_in_two(checkpoint)
    (checkpoint / "content-ema.shard-1-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"content-ema\.safetensors.*shard-1-of-2") as caught:
        load_generators(own, dict.fromkeys(GeneratorKind, checkpoint))
    assert len(str(caught.value).splitlines()) == 1
