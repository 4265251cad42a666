"""Images to train on, short runs, and what two runs are compared by."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nvg.config import dump
from nvg.distributed import World, full_tensor
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop
from nvg.training.loop import Task
from nvg.training.shard_files import Deadline, join_shards, write_shards
from nvg.training.snapshot import DTYPES, Snapshot
from nvg.weights import read_header
from tests.makers import smooth_image, tiny_recipe
from tests.nvg.store.makers import make_store, random_codec

TIMES = ("seconds", "samples_per_second", "data_wait")
DECISIVE = ("data", "autoencoder")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The metrics without the wall-clock times."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


class Pictures:
    """Random smooth images in memory, which remembers the rows and the crops asked for."""

    def __init__(self, count: int, size: int = 8) -> None:
        rng = np.random.default_rng(0)
        made = [np.asarray(smooth_image(rng, size)).transpose(2, 0, 1) for _ in range(count)]
        self.images = np.stack(made)
        self.asked: list[list[int]] = []
        self.crops: list[RandomCrop | None] = []

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: np.ndarray[Any, Any], crop: RandomCrop | None = None) -> ImageBatch:
        self.asked.append(rows.tolist())
        self.crops.append(crop)
        return ImageBatch(self.images[rows])


def state_of(out: Path) -> dict[str, torch.Tensor]:
    return load_autoencoder(out).state_dict()


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if not torch.equal(one[name], other[name])]


@contextmanager
def kept_bytes(module: nn.Module) -> Iterator[list[int]]:
    """Bytes that autograd keeps of what is computed inside, but for the module's own weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, torch.Tensor] = {}  # alive, so that no memory is counted twice or missed

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    found = [0]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found
    found[0] = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def random_sequences(count: int, grid: int, codes: int) -> Sequences:
    """Random leaves and tokens of so many images of one class."""
    leaves = torch.stack([torch.randperm(grid**2) for _ in range(count)])
    content = torch.randint(codes, (count, 2 * grid**2 - 1))
    return Sequences(leaves, content, torch.zeros(count, dtype=torch.int64))


TOLERANCE = 2e-6  # sums of gradients are added in another order


def require_same(folder: Path, one: str, other: str) -> None:
    """Losses and weights of two runs agree."""
    lines = [lines_of(folder / name / "metrics.jsonl") for name in (one, other)]
    losses = [[line["loss"] for line in own if "loss" in line] for own in lines]
    assert len(losses[0]) == 8
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    heldout = [[line["heldout"] for line in own if "heldout" in line] for own in lines]
    assert len(heldout[0]) == len(heldout[1]) >= 2
    for pair in zip(*heldout, strict=True):
        for split in ("train", "val"):  # the flow's noise differs between numbers of processes
            tables = [measured[split] for measured in pair]
            assert tables[0]["images"] == tables[1]["images"] == 12
            assert tables[0]["entropy"] == pytest.approx(tables[1]["entropy"], abs=1e-4)
            assert tables[0]["canvas"] == pytest.approx(tables[1]["canvas"], abs=1e-4)
    for part in ("content", "structure", "content-ema"):
        first, second = (load_file(folder / name / f"{part}.safetensors") for name in (one, other))
        for key, value in first.items():
            torch.testing.assert_close(value, second[key], atol=TOLERANCE, rtol=1e-4)


def training_case(folder: Path) -> Store:
    """Forty random rows and twelve held out, recipe.toml: 8 steps of batch 8, saved each fourth.

    Content is aligned with features, so that what only training has is parted and saved too.
    """
    recipe = tiny_recipe()
    train = replace(
        recipe.generator.train, steps=8, batch_size=8, log_every=1, checkpoint_every=4, lr=0.05
    )
    train = replace(train, align=0.5, align_block=1)
    dump(replace(recipe, generator=replace(recipe.generator, train=train)), folder / "recipe.toml")
    return make_store(
        folder / "store.vgs", rows=52, val=range(40, 52), seed=1, codec=random_codec()
    )


def require_same_autoencoder(one: Path, other: Path, steps: int = 8) -> None:
    """Every term of every step, and all that the last checkpoint holds."""
    first, second = (
        [line for line in lines_of(folder / "metrics.jsonl") if "loss" in line]
        for folder in (one, other)
    )
    assert len(first) == len(second) == steps
    for line, same in zip(first, second, strict=True):
        assert line == pytest.approx(same, rel=1e-5, abs=1e-6), line["step"]
    last = Path("checkpoints") / f"step-{steps:08d}"
    for path in (one / last).glob("*.safetensors"):
        found, wanted = load_file(other / last / path.name), load_file(path)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, atol=TOLERANCE, rtol=1e-5)


def split_in_two(checkpoint: Path) -> None:
    """Make shards of every safetensors file of a checkpoint, as two processes write them."""
    whole = sorted(checkpoint.glob("*.safetensors"))
    worlds = [World(rank, 2, torch.device("cpu")) for rank in range(2)]
    for world in worlds:
        write_shards(checkpoint, {path.name: _half_of(path, world.rank) for path in whole}, world)
    join_shards(checkpoint, worlds[0], Deadline())
    for path in whole:
        path.unlink()


def _half_of(path: Path, rank: int) -> Snapshot:
    tensors, entries = {}, {}
    for name, value in load_file(path).items():
        count = len(value) if value.ndim else 1
        middle = (count + 1) // 2
        first, end = (0, middle) if rank == 0 else (middle, count)
        if first < end:
            tensors[name] = value[first:end].contiguous() if value.ndim else value
            entries[name] = {"shape": list(value.shape), "dtype": DTYPES[value.dtype]}
            entries[name]["rows"] = [first, end]
    header = {} if "optimizer" in path.name else read_header(path)
    return Snapshot(tensors, header, entries, is_sharded=True)


def full_state(state: Mapping[str, Tensor], kept: bool = True) -> dict[str, Tensor]:
    """Every tensor gathered and moved to the CPU, one after another; collective.

    A process that does not keep them drops each at once and gets none.
    """
    found = {}
    for name, value in state.items():
        full = full_tensor(value)
        if kept:
            found[name] = full.detach().cpu()
    return found


class Counting(Task[int]):
    """A task whose step draws one number, and interrupts itself at step `upto`.

    `losses` are held-out losses by step.
    """

    def __init__(self, upto: int | None = None, losses: dict[int, float] | None = None) -> None:
        self.upto, self.losses, self.drawn = upto, losses or {}, list[float]()
        self.converged_at = self.measured = 0
        self.shown: list[int] = []

    def step(self, number: int, batch: int) -> dict[str, torch.Tensor]:
        assert batch == number
        if number == self.upto:
            raise KeyboardInterrupt
        self.drawn.append(float(torch.rand(())))
        return {"value": torch.tensor(float(number))}

    def is_validated(self, number: int) -> bool:
        return number in self.losses

    def validate(self, number: int) -> dict[str, float]:
        self.measured = number
        return {"one": self.losses[number], "other": -self.losses[number]}

    def has_converged(self) -> bool:
        return 0 < self.converged_at <= self.measured

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        return {"weights": b"w"}, {"fact": 1}

    def rows(self, batch: int) -> str:
        return f"row {batch}"

    def checkpointed(self, number: int) -> None:
        self.shown.append(number)
