"""How well generators predict given images: losses by stage, and bits an image.

Bits of tokens are exact: cross-entropies, given the structure. Bits of structure are a variational
bound on drawing all of it at once, at stage 1. A flow whose velocity errs by e(t) (mean square, per
number) needs the integral of e(t) (1 - t) / t nats: a diffusion's bound, 1/2 times the integral of
the error of the clean values over the signal-to-noise ratio, where that error is t^2 e(t). For
perfect predictions it is the entropy (the I-MMSE relation).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import Any

import torch
from torch import Tensor

from nvg.choices import FlowTime
from nvg.generator.config import GeneratorKind
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences

TIMES = 8  # flow times that a set of images is divided into
CLEAREST = 0.2  # below this time a noisy bit shows its value, with an error of 3e-5

Loss = Callable[[TrainingExample], dict[str, Tensor]]
"""A generator's named loss terms, each a mean over the example."""


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """What was measured of some images; lists are by stage, empty for a generator not measured."""

    images: int
    entropy: list[float] = field(default_factory=list)
    """Cross-entropy of a token, nats."""
    canvas: list[float] = field(default_factory=list)
    """Mean squared error of the predicted final canvas, in units of the codebook."""
    flow: list[float] = field(default_factory=list)
    """Mean squared error of the velocity, from stage 1 on."""
    token_bits: float = math.nan
    """Bits of an image's tokens, given its structure."""
    structure_bits: float = math.nan
    """Bits of an image's structure, a bound."""

    def loss(self, part: GeneratorKind) -> float:
        """The training loss of a generator, all stages weighing the same."""
        if part is GeneratorKind.STRUCTURE:
            return fmean(self.flow)
        return fmean(self.entropy) + (fmean(self.canvas) if self.canvas else 0.0)

    def table(self) -> dict[str, Any]:
        """What was measured, rounded, for JSON; bits of both generators together."""
        bits = {"bits": self.token_bits + self.structure_bits}
        return {
            name: [round(each, 5) for each in value] if isinstance(value, list) else round(value, 5)
            for name, value in {**asdict(self), **bits}.items()
            if value == value and value != []
        }


def averaged(parts: Sequence[Likelihood]) -> Likelihood:
    """One measure of several that were taken of equally many images."""
    lists = {
        name: [fmean(values) for values in zip(*(vars(part)[name] for part in parts), strict=True)]
        for name in ("entropy", "canvas", "flow")
    }
    return Likelihood(
        images=sum(part.images for part in parts),
        token_bits=fmean(part.token_bits for part in parts),
        structure_bits=fmean(part.structure_bits for part in parts),
        entropy=lists["entropy"],
        canvas=lists["canvas"],
        flow=lists["flow"],
    )


@torch.no_grad()
def likelihood(
    models: Mapping[GeneratorKind, Generator],
    losses: Mapping[GeneratorKind, Loss],
    quantizer: MultiGranularityQuantizer,
    batches: Iterable[Sequences],
    times: int = TIMES,
) -> Likelihood:
    """Measure batches of images at every stage, without class dropout.

    `losses` is what computes the loss of each of `models`. Noise comes from torch's CPU generator;
    flow times are quantiles of those in training, each for an equal share of the images, of which
    there must be as many.
    """
    means, seen = _Means(), 0
    for batch in batches:
        after = quantizer.canvases(batch.content, batch.leaves)
        canvases = [quantizer.empty_canvas(len(batch)), *after]
        for part, model in models.items():
            for stage, group, example in _examples(model, batch, canvases, seen, times):
                means.add(stage, group, losses[part](example), len(example.label))
        seen += len(batch)
    return _summed(models, means, quantizer.geometry, seen, times)


def _examples(
    model: Generator, batch: Sequences, canvases: list[Tensor], seen: int, times: int
) -> Iterator[tuple[int, int, TrainingExample]]:
    """Stage, share of the flow times, and the images of a batch that are measured there."""
    is_flow = isinstance(model, StructureGenerator)
    shares, K = times if is_flow else 1, len(canvases) - 2
    for stage in range(1, max(K, 2)) if is_flow else range(K + 1):
        for group in range(shares):
            rows = list(range((group - stage - seen) % shares, len(batch), shares))
            if not rows:
                continue
            at = torch.tensor(rows, device=batch.leaves.device)
            taken, canvas = batch.take(at), canvases[stage][at]
            noise = model.draw_noise(canvas)
            if isinstance(model, StructureGenerator):
                time = flow_times(model.variant.flow_time, times)[0][group]
                noise = (noise[0], torch.full_like(noise[1], time))
            label = torch.where(taken.label < 0, model.backbone.null_class, taken.label)
            stages = torch.full((len(rows),), stage)
            final = canvases[-1][at]
            yield stage, group, TrainingExample(taken, label, stages, canvas, final, noise)


def flow_times(distribution: FlowTime, count: int) -> tuple[list[float], list[float]]:
    """Quantiles of a distribution of flow times in the middle of `count` equal shares, and weights.

    A weight is the integral of (1 - t) / t over the share, above CLEAREST.
    """
    normal = NormalDist()

    def quantile(share: float) -> float:
        if distribution is FlowTime.UNIFORM or share in (0.0, 1.0):
            return share
        return 1 / (1 + math.exp(-normal.inv_cdf(share)))

    edges = [max(quantile(n / count), CLEAREST) for n in range(count + 1)]
    integral = [math.log(edge) - edge for edge in edges]
    weights = [end - start for start, end in pairwise(integral)]
    return [quantile((n + 0.5) / count) for n in range(count)], weights


class _Means:
    """Means of named terms over images, by stage and share of the flow times."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, int, int], Tensor] = {}
        self.counts: dict[tuple[str, int, int], int] = {}

    def add(self, stage: int, group: int, terms: Mapping[str, Tensor], images: int) -> None:
        """Add what some images gave on average; nothing waits for the device."""
        for name, value in terms.items():
            key = name, stage, group
            self.sums[key] = self.sums.get(key, 0.0) + images * value.detach()
            self.counts[key] = self.counts.get(key, 0) + images

    def by_stage(self, name: str) -> dict[int, dict[int, float]]:
        """Stage -> share -> mean of one term."""
        found: dict[int, dict[int, float]] = {}
        for (term, stage, group), total in self.sums.items():
            if term == name:
                found.setdefault(stage, {})[group] = float(total) / self.counts[term, stage, group]
        return found


def _summed(
    models: Mapping[GeneratorKind, Generator],
    means: _Means,
    geometry: Geometry,
    images: int,
    times: int,
) -> Likelihood:
    """Means by stage, and the bits that follow from them."""
    lists = {
        name: [fmean(by.values()) for by in means.by_stage(name).values()]
        for name in ("entropy", "canvas", "flow")
    }
    token_bits = structure_bits = math.nan
    if lists["entropy"]:
        stages = enumerate(lists["entropy"])
        token_bits = sum(geometry.clusters(stage) * each for stage, each in stages) / math.log(2)
    if isinstance(model := models.get(GeneratorKind.STRUCTURE), StructureGenerator):
        weights = flow_times(model.variant.flow_time, times)[1]
        nats = sum(weights[group] * error for group, error in means.by_stage("flow")[1].items())
        structure_bits = geometry.positions * geometry.K * nats / math.log(2)
    return Likelihood(
        images=images,
        entropy=lists["entropy"],
        canvas=lists["canvas"],
        flow=lists["flow"],
        token_bits=token_bits,
        structure_bits=structure_bits,
    )
