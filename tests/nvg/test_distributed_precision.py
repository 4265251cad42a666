"""Two processes: sharded weights are computed with as replicated ones; one process keeps files."""

import json

import pytest

from tests.nvg.training.processes import outputs, start_two

pytestmark = pytest.mark.slow
CASE = "tests.nvg.training.shard_case"


def test_sharding_keeps_the_stream_in_float32() -> None:
    """Under bfloat16 only the blocks' weights are cast: what enters them is what DDP gives them."""
    for text in outputs(start_two(CASE, "precision")):
        found = json.loads(text.splitlines()[-1])
        for part in ("content", "structure"):
            ddp, fsdp = found[f"{part}-ddp"], found[f"{part}-fsdp"]
            assert fsdp["weight"] == ["torch.bfloat16"]
            for name in ("token", "condition", "angle", "stream"):
                assert fsdp[name] == ddp[name], name
            assert fsdp["loss"] == pytest.approx(ddp["loss"], rel=2e-3)


def test_only_the_main_process_builds_the_files() -> None:
    """The other gathers with it and keeps nothing; sharded or not the bytes are the same."""
    main, other = (json.loads(t.splitlines()[-1]) for t in outputs(start_two(CASE, "checkpoint")))
    for sharded in ("False", "True"):
        sizes, weights = main[sharded]["files"], main["False"]["weights"]
        assert sizes["content.safetensors"] > weights
        assert sizes["content-optimizer.safetensors"] > 2 * weights
        assert other[sharded]["files"] == {}
    assert main["True"]["files"] == main["False"]["files"]
