"""Losses, gradients and samples of the device against the CPU's; compiled against eager.

Random weights in every layer, no dropout, the same batch and noise. Errors of gradients are norms
of differences relative to the norm, over all parameters at once.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from nvg.generator.config import RELEASE, GeneratorKind, Variant
from nvg.generator.generator import Generator, TrainingExample
from nvg.precision import PRECISION, Numbers, Part
from nvg.sampling.config import SamplerConfig
from nvg.sampling.sampler import Sampler
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import sample_example
from nvg.training.recompute import recompute_blocks
from tests.gpu.materials import (
    Sizes,
    batch_of,
    generators,
    on,
    quantizer_of,
    random_store,
    small,
)
from tests.gpu.report import Report, Setting

IMAGES, TINY_IMAGES, SAMPLES = 32, 8, 32


@dataclass(frozen=True)
class Limits:
    """Largest relative errors of a loss and of all gradients."""

    loss: float
    gradient: float


# float32: sums in another order through two blocks. bfloat16: 8 bits of mantissa in every product.
SINGLE, MIXED, AGAIN = Limits(1e-5, 1e-4), Limits(2e-2, 0.1), Limits(1e-6, 1e-5)
SAME_IMAGES = 0.75  # of samples in float32: a tie that falls otherwise changes all that follows


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    sizes = small(setting.tiny)
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), sizes, TINY_IMAGES if setting.tiny else IMAGES)
        for name, variant in (("", Variant()), ("release, ", RELEASE)):
            for part, model in generators(sizes, store, variant).items():
                _gradients(
                    setting, report, f"{name}{part.value}", model, _example(store, part, model)
                )
    with tempfile.TemporaryDirectory() as folder:
        sizes = small(setting.tiny, grid=4 if setting.tiny else 8)
        _samples(setting, report, random_store(Path(folder), sizes, 8), sizes)


def _example(store: Store, part: GeneratorKind, model: Generator) -> TrainingExample:
    """A training example, made on the CPU."""
    torch.manual_seed(0)
    batch = batch_of(store, len(store))
    return sample_example({part: model}, quantizer_of(store), batch, GeneratorTraining())[part]


def gradients(
    model: Generator, example: TrainingExample, device: torch.device, mixed: bool = False
) -> tuple[float, Tensor]:
    """Loss and all gradients in one vector, on the CPU."""
    model.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        terms, _ = model.loss(on(device, example))
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    parts = [p.grad for p in model.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat([part.flatten().double().cpu() for part in parts])


def _gradients(
    setting: Setting, report: Report, name: str, model: Generator, example: TrainingExample
) -> None:
    """One generator by every way against float32 on the CPU; compiled against the same eager."""
    device = setting.device
    expected = gradients(model, example, torch.device("cpu"))
    there = deepcopy(model).to(device)
    single = gradients(there, example, device)
    mixed = gradients(there, example, device, mixed=True)
    _compare(report, f"{name}, float32 against the CPU", expected, single, SINGLE)
    _compare(report, f"{name}, bfloat16 against the CPU", expected, mixed, MIXED)
    again = deepcopy(there)
    recompute_blocks(again.backbone.blocks)  # type: ignore[arg-type]
    found = gradients(again, example, device)
    _compare(report, f"{name}, activation checkpointing", single, found, AGAIN)
    if model.variant == RELEASE or not report.has_time(20, f"{name}, compiled"):
        return
    there.backbone.compile(backend="inductor" if setting.is_cuda else "aot_eager")
    _compare(report, f"{name}, float32 compiled", single, gradients(there, example, device), SINGLE)
    found = gradients(there, example, device, mixed=True)
    _compare(report, f"{name}, bfloat16 compiled", mixed, found, MIXED)
    torch._dynamo.reset()


def _compare(
    report: Report,
    name: str,
    expected: tuple[float, Tensor],
    found: tuple[float, Tensor],
    limits: Limits,
) -> None:
    loss = abs(found[0] - expected[0]) / abs(expected[0])
    gradient = float((found[1] - expected[1]).norm() / expected[1].norm())
    report.within(f"{name}, loss", loss, limits.loss)
    report.within(f"{name}, gradient", gradient, limits.gradient)


@contextmanager
def blocks_in(numbers: Numbers) -> Iterator[None]:
    """The blocks of the generators sample in these numbers on CUDA, for a while."""
    with patch.dict(PRECISION, {Part.BLOCKS: numbers}):
        yield


def _samples(setting: Setting, report: Report, store: Store, sizes: Sizes) -> None:
    """Sampled sequences with the same noise: equal in float32 but for ties, near in bfloat16."""
    models = generators(sizes, store)
    nn.init.normal_(models[GeneratorKind.CONTENT].head.weight, std=2.0)  # type: ignore[arg-type, union-attr]
    count = TINY_IMAGES if setting.tiny else SAMPLES
    draw = partial(_sampled, models, store, count)
    expected = draw(torch.device("cpu"))
    with blocks_in(Numbers.SINGLE):
        single = draw(setting.device)
    found = _differences(expected, single)
    report.check(
        "samples, float32: images that are the same",
        found["images"] >= SAME_IMAGES,
        f"{found['images']:.3f}, at least {SAME_IMAGES}; tokens that differ "
        f"{found['tokens']:.4f}, leaves {found['leaves']:.4f}",
    )
    mixed = _differences(expected, draw(setting.device))
    report.figure("samples, as sampled here: share of tokens that differ", mixed["tokens"])
    report.figure("samples, as sampled here: share of leaves that differ", mixed["leaves"])


def _sampled(
    models: dict[GeneratorKind, Generator], store: Store, count: int, device: torch.device
) -> Sequences:
    content, structure = (models[part].to(device) for part in GeneratorKind)
    quantizer = quantizer_of(store).to(device)
    config = SamplerConfig(flow_steps=4)
    sampler = Sampler(content, structure, quantizer, config)  # type: ignore[arg-type]
    (made,) = sampler.batches([number % 3 for number in range(count)], seed=0)
    return made.sequences.to(torch.device("cpu"))


def _differences(expected: Sequences, found: Sequences) -> dict[str, float]:
    token_BT, leaf_BN = expected.content != found.content, expected.leaves != found.leaves
    same_B = ~(token_BT.any(1) | leaf_BN.any(1))
    shares = {"images": same_B, "tokens": token_BT, "leaves": leaf_BN}
    return {name: float(share.double().mean()) for name, share in shares.items()}
