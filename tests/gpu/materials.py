"""What the parts work on: stores, quantizers and generators of random weights, at stated sizes.

Legend: B image of a batch, N position, T token.
"""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.distributed import World
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, TransformerConfig, Variant
from nvg.generator.generator import Generator
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.shape import shape_of
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer
from pipeline.recipe.presets import PRESETS
from tests.gpu.report import Setting
from tests.nvg.store.makers import write_store
from tests.nvg.tokenizer.makers import tiny_model

WEIGHT = 0.05  # standard deviation of random weights: no layer is silent, no sum large


@dataclass(frozen=True)
class Sizes:
    """Of the tokens and of both generators."""

    grid: int
    codebook_size: int
    latent_dim: int
    classes: int
    content: TransformerConfig
    structure: TransformerConfig

    def transformer(self, part: GeneratorKind) -> TransformerConfig:
        """The size of one generator."""
        return self.content if part is GeneratorKind.CONTENT else self.structure


def paper(depth: int) -> Sizes:
    """NVG-d of the paper at 256x256, dropout included."""
    preset = PRESETS[f"d{depth}"]
    content, structure = (TransformerConfig(**preset[part.value]) for part in GeneratorKind)
    return Sizes(16, 4096, 32, 1000, content, structure)


def small(tiny: bool, grid: int = 0) -> Sizes:
    """For comparisons of numbers: few blocks; of minimal width where the setting is tiny."""
    size = TransformerConfig(depth=1, width=64, heads=1)
    if not tiny:
        size = TransformerConfig(depth=2, width=256, heads=4)
    return Sizes(grid or (4 if tiny else 16), 16 if tiny else 512, 4 if tiny else 32, 3, size, size)


def sizes_of(setting: Setting, depth: int = 16) -> Sizes:
    """The paper's, or minimal ones."""
    return small(tiny=True) if setting.tiny else paper(depth)


def autoencoder_config(setting: Setting) -> AutoencoderConfig:
    """The paper's tokenizer, or the smallest."""
    return tiny_model() if setting.tiny else AutoencoderConfig()


def random_store(folder: Path, sizes: Sizes, rows: int) -> Store:
    """A finished store of random sequences."""
    return write_store(
        folder / "random.vgs",
        rows,
        grid=sizes.grid,
        codebook_size=sizes.codebook_size,
        latent_dim=sizes.latent_dim,
        classes=[f"class {number}" for number in range(sizes.classes)],
        chunk_rows=min(rows, 256),
    )


def quantizer_of(store: Store) -> MultiGranularityQuantizer:
    """The quantizer of a store, on the CPU."""
    return load_quantizer(store.read(TOKENIZER_FILE), store.geometry)


def batch_of(store: Store, count: int) -> Sequences:
    """The first sequences of a store, int64, on the CPU."""
    leaves, content = (torch.from_numpy(a[:count, 0]) for a in (store.leaves, store.content))
    label = torch.from_numpy(np.asarray(store.label[:count])).long()
    return Sequences(leaves, content, label).to(torch.device("cpu"))


def generators(
    sizes: Sizes, store: Store, variant: Variant | None = None
) -> dict[GeneratorKind, Generator]:
    """Both generators with random weights everywhere, on the CPU, without dropout."""
    found = {}
    for number, part in enumerate(GeneratorKind):
        config = replace(sizes.transformer(part), dropout=0.0)
        shape = shape_of(config, store, quantizer_of(store), variant or Variant())
        found[part] = build_generator(part, shape).eval()
        randomize(found[part], number)
    return found


def randomize(module: torch.nn.Module, seed: int) -> None:
    """Random weights everywhere: those that start at zero would hide what is behind them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            value = WEIGHT * torch.randn(weight.shape, generator=generator)
            weight.copy_(value + ("norm" in name))


def trainer_of(
    sizes: Sizes, store: Store, batch: int, world: World, parts: list[GeneratorKind], **options: Any
) -> GeneratorTrainer:
    """A trainer of generators on a store, from one seed; `options` are fields of its training."""
    training = replace(GeneratorTraining(), batch_size=batch, warmup=0, **options)
    torch.manual_seed(0)
    states = []
    for part in parts:
        shape = shape_of(sizes.transformer(part), store, quantizer_of(store), Variant())
        states.append(GeneratorState(part, shape, training, world))
    return GeneratorTrainer(states, store, quantizer_of(store), world)


def on(device: torch.device, value: Any) -> Any:
    """A tensor, or a record or tuple of them, moved to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(on(device, each) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        moved = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return replace(value, **{name: on(device, each) for name, each in moved.items()})
    return value
