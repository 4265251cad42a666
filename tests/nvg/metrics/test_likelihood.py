"""Losses by stage and bits an image: against one image at a time, and against known entropies."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nvg.choices import FlowTime, StructureValues
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, Variant
from nvg.generator.generator import TrainingExample
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import mixed_bit_embedding
from nvg.metrics.likelihood import CLEAREST, Likelihood, averaged, flow_times, likelihood
from nvg.sequence import Sequences
from tests.nvg.generator.makers import CLASSES, make_shape, randomize
from tests.nvg.quantizer.makers import quantizer_case

POSITIONS, LAST, CODES = 16, 4, 11
CONTENT, STRUCTURE = GeneratorKind.CONTENT, GeneratorKind.STRUCTURE


def sequences(count: int, seed: int = 0) -> Sequences:
    """Random images on a 4x4 grid, one of them without a class."""
    g = torch.Generator().manual_seed(seed)
    return Sequences(
        torch.stack([torch.randperm(POSITIONS, generator=g) for _ in range(count)]),
        torch.randint(CODES, (count, 2 * POSITIONS - 1), generator=g),
        torch.cat((torch.tensor([-1]), torch.randint(CLASSES, (count - 1,), generator=g))),
    )


def test_losses_are_those_of_each_image_at_each_stage() -> None:
    """Both generators against their own losses of one image, one stage and one time at a time."""
    quantizer = quantizer_case(4, channels=3, codes=CODES)[0]
    models = {part: build_generator(part, make_shape()).eval() for part in GeneratorKind}
    for seed, model in enumerate(models.values()):
        randomize(model, seed, 0.1)
    batch, times = sequences(6), 3
    drawn: list[tuple[TrainingExample, float]] = []

    def flow_loss(example: TrainingExample) -> dict[str, Tensor]:
        terms = models[STRUCTURE].loss(example)[0]
        drawn.append((example, float(terms["flow"])))
        return terms

    losses = {CONTENT: lambda example: models[CONTENT].loss(example)[0], STRUCTURE: flow_loss}
    torch.manual_seed(7)
    halves = [batch.take(torch.arange(4)), batch.take(torch.arange(4, 6))]
    found = likelihood(models, losses, quantizer, halves, times)

    canvases = [quantizer.empty_canvas(6), *quantizer.canvases(batch.content, batch.leaves)]
    label = batch.label.where(batch.label >= 0, CLASSES)

    def alone(part: GeneratorKind, image: int, stage: int, noise: tuple[Tensor, ...]) -> Tensor:
        one, at = torch.tensor([image]), slice(image, image + 1)
        example = TrainingExample(
            batch.take(one),
            label[at],
            torch.tensor([stage]),
            canvases[stage][at],
            canvases[-1][at],
            noise,
        )
        terms = models[part].loss(example)[0]
        return torch.stack([value.detach() for value in terms.values()])

    for stage in range(LAST + 1):
        each = torch.stack([alone(CONTENT, image, stage, ()) for image in range(6)]).mean(0)
        assert (found.canvas[stage], found.entropy[stage]) == pytest.approx(each.tolist(), 1e-4)
    tokens = [2**stage * found.entropy[stage] / math.log(2) for stage in range(LAST + 1)]
    assert found.token_bits == pytest.approx(sum(tokens))
    assert found.images == 6
    for stage in range(1, LAST):
        here = [(example, error) for example, error in drawn if int(example.stage[0]) == stage]
        seen = torch.cat([example.batch.content for example, _ in here])
        assert {tuple(row) for row in seen.tolist()} == {tuple(r) for r in batch.content.tolist()}
        by_time: dict[float, list[tuple[float, int]]] = {}
        for example, error in here:
            by_time.setdefault(float(example.noise[1][0]), []).append((error, len(example.label)))
        assert sorted(by_time) == pytest.approx(flow_times(FlowTime.UNIFORM, times)[0])
        means = []
        for pairs in by_time.values():
            assert sum(count for _, count in pairs) == 2
            means.append(sum(error * count for error, count in pairs) / 2)
        assert found.flow[stage - 1] == pytest.approx(sum(means) / times, rel=1e-5)
    assert found.loss(CONTENT) == pytest.approx(
        sum(found.canvas) / len(found.canvas) + sum(found.entropy) / len(found.entropy)
    )


@pytest.mark.parametrize("distribution", FlowTime)
@pytest.mark.parametrize("values", StructureValues)
def test_bits_of_structure_are_the_entropy_for_the_best_flow(
    distribution: FlowTime, values: StructureValues
) -> None:
    """Independent fair bits hold one bit each, and the posterior mean of a bit is known."""
    variant = Variant(flow_time=distribution, structure_values=values)
    model = build_generator(STRUCTURE, make_shape(variant=variant))
    assert isinstance(model, StructureGenerator)

    def best_loss(example: TrainingExample) -> dict[str, Tensor]:
        stage, (noise, time) = example.stage, example.noise
        clean = model.values(
            mixed_bit_embedding(example.batch.leaves, torch.full_like(stage, LAST), LAST)
        )
        middle = 1.0 - float(values is StructureValues.CENTRED)
        t = time.view(-1, 1, 1)
        seen = t * noise + (1 - t) * (clean - middle)
        guess = middle + torch.tanh((1 - t) * seen / t.square())
        velocity = (t * noise + (1 - t) * clean - guess) / t
        return {"flow": (velocity - (noise - clean)).square().mean()}

    g = torch.Generator().manual_seed(0)
    count = 1024
    batch = replace(
        sequences(count), leaves=torch.randint(POSITIONS, (count, POSITIONS), generator=g)
    )
    quantizer = quantizer_case(4, channels=3, codes=CODES)[0]
    torch.manual_seed(0)
    found = likelihood({STRUCTURE: model}, {STRUCTURE: best_loss}, quantizer, [batch], times=32)
    assert found.structure_bits == pytest.approx(POSITIONS * LAST, rel=0.03)
    assert math.isnan(found.token_bits)
    assert "token_bits" not in found.table()


def test_shares_of_the_flow_times() -> None:
    """Quantiles in the middle of equal shares; the weights sum to the integral from CLEAREST on."""
    times, weights = flow_times(FlowTime.UNIFORM, 4)
    assert times == [0.125, 0.375, 0.625, 0.875]
    whole = -math.log(CLEAREST) - (1 - CLEAREST)
    for distribution in FlowTime:
        times, weights = flow_times(distribution, 16)
        assert times == sorted(times)
        assert sum(weights) == pytest.approx(whole)
    assert times[8] == pytest.approx(1 / (1 + math.exp(-0.0784)), abs=1e-3)


def test_processes_average_what_they_measured() -> None:
    """Numbers by stage are averaged, images are counted."""
    one = Likelihood(images=2, entropy=[1.0, 3.0], canvas=[0.5, 0.5], token_bits=10.0)
    other = Likelihood(images=2, entropy=[2.0, 5.0], canvas=[0.5, 1.5], token_bits=20.0)
    found = averaged([one, other])
    assert (found.images, found.entropy, found.canvas) == (4, [1.5, 4.0], [0.5, 1.0])
    assert found.token_bits == 15.0
    assert found.flow == []
    assert math.isnan(found.structure_bits)
