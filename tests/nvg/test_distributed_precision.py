"""Two processes: sharded weights are computed with as replicated ones; one process keeps files."""

import json

import pytest

from tests.processes import outputs, start_processes

pytestmark = pytest.mark.slow
CASE = "tests.nvg.training.shard_case"


def test_sharding_keeps_the_stream_in_float32() -> None:
    """Under bfloat16 only the blocks' weights are cast: what enters them is what DDP gives them."""
    for text in outputs(start_processes(2, CASE, "precision")):
        found = json.loads(text.splitlines()[-1])
        for part in ("content", "structure"):
            ddp, fsdp = found[f"{part}-ddp"], found[f"{part}-fsdp"]
            assert fsdp["weight"] == ["torch.bfloat16"]
            for name in ("token", "condition", "angle", "stream"):
                assert fsdp[name] == ddp[name], name
            assert fsdp["loss"] == pytest.approx(ddp["loss"], rel=2e-3)


def test_each_process_holds_its_share_of_a_checkpoint() -> None:
    """Replicated weights are the main process's to write; of sharded ones each has half."""
    printed = outputs(start_processes(2, CASE, "checkpoint"))
    main, other = (json.loads(text.splitlines()[-1]) for text in printed)
    whole, weights = main["False"]["files"], main["False"]["weights"]
    assert other["False"]["files"] == {}
    assert whole["content.safetensors"] == whole["content-ema.safetensors"] == weights
    assert whole["content-optimizer.safetensors"] == pytest.approx(2 * weights, rel=0.01)
    for name, size in whole.items():
        shares = [process["True"]["files"][name] for process in (main, other)]
        assert sum(shares) == size
        assert shares[1] == pytest.approx(size / 2, rel=0.05)
