"""One of several processes that shard a generator: see test_sharded_checkpoint.py,
test_parallel.py and tests/nvg/test_distributed_precision.py.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor.debug import CommDebugMode

from nvg.distributed import World, joined
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, TransformerConfig
from nvg.generator.generator import Generator, TrainingExample
from nvg.training.checkpoint import Checkpoints, optimizer_tensors
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import sample_example
from nvg.training.generator.state import GeneratorState
from nvg.training.parallel import replicate, shard
from tests.nvg.generator.makers import CHANNELS, CODES, make_shape, randomize
from tests.nvg.quantizer.makers import quantizer_case
from tests.nvg.training.makers import differing, full_state, random_sequences

WIDER = TransformerConfig(depth=3, width=64, heads=2)


class Autocast(nn.Module):
    """A generator's loss as on a GPU: under bfloat16 autocast."""

    def __init__(self, model: Generator) -> None:
        super().__init__()
        self.model = model

    def forward(self, example: TrainingExample) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.stack(list(self.model.loss(example)[0].values())).sum()


def example_of(part: GeneratorKind, model: Generator, rank: int) -> TrainingExample:
    """Eight images of this process's own."""
    quantizer = quantizer_case(4, channels=CHANNELS, codes=CODES)[0]
    torch.manual_seed(rank)
    batch = random_sequences(8, 4, CODES)
    return sample_example({part: model}, quantizer, batch, GeneratorTraining())[part]


def watched(model: Generator) -> dict[str, set[str]]:
    """Dtypes of what enters the blocks, filled as they run.

    A submodule's hook runs after FSDP2's own of the block, which casts and gathers.
    """
    seen: dict[str, set[str]] = {}

    def note(name: str, value: Tensor) -> None:
        seen.setdefault(name, set()).add(str(value.dtype))

    def enters_block(block: nn.Module, inputs: tuple[Any, ...]) -> None:
        token, condition, angles, *_ = inputs
        note("token", token)
        note("condition", condition)
        note("angle", angles[0])

    def enters_norm(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        note("stream", inputs[0])

    def enters_linear(linear: nn.Module, inputs: tuple[Any, ...]) -> None:
        note("weight", next(linear.parameters()))

    for block in model.backbone.blocks:
        block.register_forward_pre_hook(enters_block)
        block.get_submodule("norm").register_forward_pre_hook(enters_norm)
        block.get_submodule("linear_in").register_forward_pre_hook(enters_linear)
    return seen


def precision(world: World) -> dict[str, Any]:
    """Loss of each generator and dtypes in its blocks, replicated and sharded in bfloat16."""
    found: dict[str, Any] = {}
    for part in GeneratorKind:
        for kind in ("ddp", "fsdp"):
            model = build_generator(part, make_shape(transformer=WIDER))
            randomize(model)
            example, wrapped = example_of(part, model, world.rank), Autocast(model)
            if kind == "fsdp":
                shard(wrapped, list(model.backbone.blocks), world, kind=torch.bfloat16)
            seen = watched(model)
            outer = replicate(wrapped, world) if kind == "ddp" else wrapped
            loss = outer(example)
            loss.backward()
            dtypes = {name: sorted(kinds) for name, kinds in seen.items()}
            found[f"{part}-{kind}"] = {"loss": float(loss), **dtypes}
    return found


def checkpoint(world: World) -> dict[str, Any]:
    """Bytes of a checkpoint's tensors in this process, with sharded and replicated weights."""
    found = {}
    for sharded in (False, True):
        state = trained(world, sharded)
        files = {
            name: sum(value.nbytes for value in taken.tensors.values())
            for name, taken in state.files().items()
        }
        weights = sum(value.nbytes for value in state.model.state_dict().values())
        found[str(sharded)] = {"files": files, "weights": weights}
    return found


def trained(world: World, sharded: bool, checkpoint: Path | None = None) -> GeneratorState:
    """A content generator after two steps, or as a checkpoint has it."""
    torch.manual_seed(0)
    training = GeneratorTraining(sharded=sharded)
    part, shape = GeneratorKind.CONTENT, make_shape(transformer=WIDER)
    state = GeneratorState(part, shape, training, world, checkpoint=checkpoint)
    for step in range(0 if checkpoint else 2):
        state.accumulate(example_of(part, state.model, world.rank), True)
        state.update(step)
    return state


def nodes(world: World, folder: Path) -> dict[str, Any]:
    """Two steps of two micro-batches, replicated and sharded within nodes; also in bfloat16.

    Saves the sharded one as step 2, and whole as reference.safetensors.
    """
    found: dict[str, Any] = {}
    for name, sharded in (("ddp", False), ("hsdp", True)):
        torch.manual_seed(0)
        training = GeneratorTraining(sharded=sharded, accumulate=2, lr=0.01, warmup=1)
        shape = make_shape(transformer=WIDER)
        state = GeneratorState(GeneratorKind.CONTENT, shape, training, world)
        losses, messages = [], []
        for step in range(2):
            for micro in range(2):
                seed = world.size * (2 * step + micro) + world.rank
                with CommDebugMode() as sent:
                    example = example_of(GeneratorKind.CONTENT, state.model, seed)
                    state.accumulate(example, micro == 1)
                messages.append(_reductions(sent))
            losses.append({key: float(value) for key, value in state.update(step).items()})
        found[name] = {"losses": losses, "reductions": messages}
        whole = contents(state)
        if world.is_main:
            save_file(whole, folder / f"{name}.safetensors")
    checkpoints = Checkpoints(folder)
    checkpoints.begin(2, state.files(), {}, world=world)
    checkpoints.wait()
    files = state.files()["content.safetensors"]
    weight = state.model.state_dict()["backbone.blocks.0.linear_in.weight"]
    return found | {
        "mesh": list(weight.device_mesh.shape),
        "rows": [len(weight.to_local()), len(weight)],
        "written": len(files.tensors),
        "precision": precision(world),
    }


def _reductions(sent: CommDebugMode) -> int:
    """How many messages that add gradients up."""
    return sum(n for kind, n in sent.get_comm_counts().items() if "reduce" in str(kind))


def contents(state: GeneratorState) -> dict[str, Tensor]:
    """Weights, EMA weights and optimizer state, gathered; collective."""
    parts = {"w": state.model.state_dict(), "e": state.ema, "o": optimizer_tensors(state.optimizer)}
    return {
        f"{part}.{name}": value.clone()
        for part, tensors in parts.items()
        for name, value in full_state(tensors).items()
    }


def write(world: World, folder: Path) -> dict[str, Any]:
    """Save a sharded generator as step 2, and whole as reference.safetensors."""
    state, checkpoints = trained(world, True), Checkpoints(folder)
    checkpoints.begin(2, state.files(), {}, world=world)
    whole = contents(state)  # as steps would, beside the write
    checkpoints.wait()
    if world.is_main:
        save_file(whole, folder / "reference.safetensors")
    return {"steps": checkpoints.steps()}


def read(world: World, folder: Path) -> dict[str, Any]:
    """The tensors of step 2, read as sharded ones, that differ from what was saved."""
    found = contents(trained(world, True, Checkpoints(folder).path(2)))
    whole = load_file(folder / "reference.safetensors")
    missing = sorted(found.keys() ^ whole.keys())
    return {"differing": missing or differing(found, whole), "count": len(found)}


if __name__ == "__main__":
    with joined() as here:
        cases: dict[str, Callable[..., dict[str, Any]]]
        cases = {"precision": precision, "checkpoint": checkpoint, "write": write, "read": read}
        cases["nodes"] = nodes
        print(json.dumps(cases[sys.argv[1]](here, *map(Path, sys.argv[2:]))))
