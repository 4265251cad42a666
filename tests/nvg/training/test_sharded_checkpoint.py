"""Checkpoints that two processes write together: read by any number, whole after a kill."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nvg.distributed import World
from nvg.training.checkpoint import Checkpoints
from nvg.weights import opened
from tests.nvg.training.kill_case import STUCK
from tests.nvg.training.makers import differing, lines_of, training_case
from tests.nvg.training.shard_case import contents, trained
from tests.processes import outputs, start_processes

SHARDS, KILL = "tests.nvg.training.shard_case", "tests.nvg.training.kill_case"
pytestmark = pytest.mark.slow

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Step 2 of a sharded generator, written by two processes."""
    folder = tmp_path_factory.mktemp("written")
    outputs(start_processes(2, SHARDS, "write", str(folder)))
    return folder


def test_two_processes_write_one_file_each(written: Path) -> None:
    """For each name a file of each, one index, no note left; each holds half of the rows."""
    folder = written / "step-00000002"
    names = {path.name for path in folder.iterdir()}
    stems = ("content", "content-ema", "content-optimizer")
    shards = {f"{stem}.shard-{n}-of-2.safetensors" for stem in stems for n in range(2)}
    assert names == {*shards, "shards.json", "state.json"}
    sizes = [(folder / f"content.shard-{n}-of-2.safetensors").stat().st_size for n in range(2)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_one_process_reads_what_two_wrote(written: Path) -> None:
    """Weights, EMA weights and optimizer state, to the bit."""
    whole = load_file(written / "reference.safetensors")
    found = contents(trained(ALONE, False, written / "step-00000002"))
    assert found.keys() == whole.keys()
    assert differing(found, whole) == []
    with opened(written / "step-00000002" / "content.safetensors") as stored:
        assert differing(stored.read_like({}), {n: whole[f"w.{n}"] for n in stored.shapes}) == []


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_read_what_two_wrote(written: Path, count: int) -> None:
    """As many as wrote, and three, whose rows begin and end elsewhere."""
    for text in outputs(start_processes(count, SHARDS, "read", str(written))):
        found = json.loads(text.splitlines()[-1])
        assert found["differing"] == []
        assert found["count"] > 50


def test_killed_during_a_save_the_one_before_is_whole(tmp_path: Path) -> None:
    """While one file of step 8 is half written the steps go on; resumed from step 4 the run ends as
    one that was left alone, to the bit."""
    training_case(tmp_path)
    case = (KILL, str(tmp_path))
    outputs(start_processes(2, *case, "alone"))
    run = tmp_path / "killed"
    stuck = run / "checkpoints" / "writing-00000008" / STUCK
    started = start_processes(2, *case, "killed", "hang")
    try:
        until(stuck.with_suffix(".stuck").exists)
        until(lambda: lines_of(run / "metrics.jsonl")[-1]["step"] >= 11)
    finally:
        for process in started:
            process.kill()
    assert stuck.exists()
    assert Checkpoints(run / "checkpoints").steps() == [4]
    outputs(start_processes(2, *case, "killed", "resume"))
    assert Checkpoints(run / "checkpoints").steps() == [8, 12]
    assert [path.name for path in (run / "checkpoints").glob("writing-*")] == []
    for name in ("content", "structure", "content-ema", "structure-ema"):
        both = (load_file(tmp_path / n / f"{name}.safetensors") for n in ("killed", "alone"))
        assert differing(*both) == []
    assert lines_of(run / "metrics.jsonl") == lines_of(tmp_path / "alone" / "metrics.jsonl")


def until(happens: Callable[[], bool]) -> None:
    """Wait two minutes at most."""
    deadline = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < deadline, "it did not happen within two minutes"
        time.sleep(0.02)
