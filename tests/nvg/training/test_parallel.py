"""Weights sharded within nodes and copied between them: the same numbers, fewer messages."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nvg.distributed import World
from nvg.errors import InputError
from nvg.training import parallel
from nvg.training.config import ShardOver
from nvg.training.parallel import mesh_of, processes_of_a_node, replicate, shard, unreduced
from tests.nvg.training.makers import TOLERANCE, differing
from tests.nvg.training.shard_case import contents, trained
from tests.processes import outputs, start_processes

CASE = "tests.nvg.training.shard_case"
ALONE = World(0, 1, torch.device("cpu"))


class Told(World):
    """One of several processes whose places in their nodes are given."""

    places: list[tuple[int, int]]

    def gather(self, value: Any) -> list[Any]:
        """The places, whatever this process's is."""
        return self.places


def told(*places: tuple[int, int]) -> Told:
    """Processes at (place in the node, processes of the node)."""
    world = Told(0, len(places), torch.device("cpu"))
    object.__setattr__(world, "places", list(places))
    return world


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(0, 2), (1, 2), (0, 2), (1, 2)], 2),
        ([(0, 4), (1, 4), (2, 4), (3, 4)], 4),
        ([(0, 1), (0, 1)], 1),
        ([(0, 2), (1, 2), (0, 1)], 0),  # nodes of two sizes
        ([(0, 2), (0, 2), (1, 2), (1, 2)], 0),  # numbered across the nodes
        ([(0, 2), (1, 2), (0, 2)], 0),  # a node that is not all there
        ([(0, 0), (0, 0)], 0),  # started by hand
    ],
)
def test_nodes_must_be_alike(places: list[tuple[int, int]], expected: int) -> None:
    """As many processes on each, numbered one node after another."""
    assert processes_of_a_node(told(*places)) == expected


@pytest.mark.parametrize(
    ("over", "places", "expected"),
    [
        (ShardOver.AUTO, [(0, 2), (1, 2), (0, 2), (1, 2)], (2, 2)),
        (ShardOver.NODE, [(0, 2), (1, 2), (0, 2), (1, 2)], (2, 2)),
        (ShardOver.ALL, [(0, 2), (1, 2), (0, 2), (1, 2)], (4,)),
        (ShardOver.AUTO, [(0, 2), (1, 2)], (2,)),  # one node
        (ShardOver.NODE, [(0, 2), (1, 2)], (2,)),
        (ShardOver.AUTO, [(0, 1), (0, 1)], (2,)),  # nothing to share within a node
        (ShardOver.AUTO, [(0, 2), (1, 2), (0, 1)], (3,)),
    ],
)
def test_the_mesh_follows_the_nodes(
    monkeypatch: pytest.MonkeyPatch,
    over: ShardOver,
    places: list[tuple[int, int]],
    expected: tuple[int, ...],
) -> None:
    """[node, process of a node] where there are several nodes, alike, of several processes."""
    made = "torch.distributed.device_mesh.init_device_mesh"
    monkeypatch.setattr(made, lambda _device, shape, mesh_dim_names=(): shape)
    assert mesh_of(told(*places), over) == expected


@pytest.mark.parametrize("places", [[(0, 1), (0, 1)], [(0, 2), (1, 2), (0, 1)]])
def test_nodes_that_cannot_share_are_refused_by_name(places: list[tuple[int, int]]) -> None:
    """One line with the remedy."""
    with pytest.raises(InputError, match=r"shard_over.*same number.*LOCAL_WORLD_SIZE.*\"all\""):
        mesh_of(told(*places), ShardOver.NODE)


def test_one_process_keeps_its_module() -> None:
    """Nothing is wrapped, and there is nothing to leave unreduced."""
    module = nn.Linear(2, 2)
    assert replicate(module, ALONE) is module
    shard(module, [], ALONE)
    assert type(module) is nn.Linear
    with unreduced(module):
        module(torch.ones(1, 2)).sum().backward()
    assert module.weight.grad is not None


def test_reductions_come_back_after_an_error() -> None:
    """FSDP2's switch is set for one backward pass only."""
    switched = []

    class Sharded(nn.Module):
        def set_requires_gradient_sync(self, value: bool) -> None:
            switched.append(value)

    with pytest.raises(KeyError), parallel.unreduced(Sharded()):
        raise KeyError
    assert switched == [False, True]


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What four processes, two on each of two nodes, found and wrote."""
    folder = tmp_path_factory.mktemp("nodes")
    started = start_processes(4, CASE, "nodes", str(folder), per_node=2)
    return folder, [json.loads(text.splitlines()[-1]) for text in outputs(started)]


@pytest.mark.slow
def test_two_nodes_train_as_replicas(two_nodes: tuple[Path, list[dict[str, Any]]]) -> None:
    """Losses and norms to 1e-5, weights, EMA weights and moments to 2e-6, in all processes."""
    folder, found = two_nodes
    for own in found:
        assert own["mesh"] == [2, 2]
        assert own["rows"][0] == own["rows"][1] / 2
        for step, same in zip(own["ddp"]["losses"], own["hsdp"]["losses"], strict=True):
            assert step == pytest.approx(same, rel=1e-5)
    one, other = (load_file(folder / f"{name}.safetensors") for name in ("ddp", "hsdp"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=TOLERANCE, rtol=1e-4)


@pytest.mark.slow
def test_nothing_is_reduced_before_the_last_micro_batch(
    two_nodes: tuple[Path, list[dict[str, Any]]],
) -> None:
    """Then every layer's gradient is, within the node and between nodes."""
    each = 2 * (3 + 1)  # three blocks, and what is around them
    for own in two_nodes[1]:
        assert own["hsdp"]["reductions"] == [0, each, 0, each]


@pytest.mark.slow
def test_sharding_within_nodes_keeps_the_stream_in_float32(
    two_nodes: tuple[Path, list[dict[str, Any]]],
) -> None:
    """Under bfloat16 only the weights of blocks are cast."""
    for own in two_nodes[1]:
        for part in ("content", "structure"):
            ddp, sharded = own["precision"][f"{part}-ddp"], own["precision"][f"{part}-fsdp"]
            assert sharded["weight"] == ["torch.bfloat16"]
            for name in ("token", "condition", "angle", "stream"):
                assert sharded[name] == ddp[name], name
            assert sharded["loss"] == pytest.approx(ddp["loss"], rel=2e-3)


@pytest.mark.slow
def test_one_node_writes_and_any_number_reads(
    two_nodes: tuple[Path, list[dict[str, Any]]],
) -> None:
    """The second node's copies are not written; one process and two read the same tensors."""
    folder, found = two_nodes
    assert [own["written"] > 0 for own in found] == [True, True, False, False]
    step = folder / "step-00000002"
    shards = {path.name for path in step.glob("content.shard-*")}
    assert shards == {f"content.shard-{n}-of-4.safetensors" for n in range(2)}
    whole = load_file(folder / "hsdp.safetensors")
    (folder / "reference.safetensors").write_bytes((folder / "hsdp.safetensors").read_bytes())
    alone = contents(trained(ALONE, False, step))
    assert alone.keys() == whole.keys()
    assert differing(alone, whole) == []
    for text in outputs(start_processes(2, CASE, "read", str(folder))):
        assert json.loads(text.splitlines()[-1])["differing"] == []
