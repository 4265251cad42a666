"""The structure generator: inpainting (Eq. 1), flow-matching loss and time features."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.choices import (
    CanvasCondition,
    FlowLoss,
    StructureValues,
    TimeGrid,
)
from nvg.generator.backbone import CANVAS, STRUCTURE
from nvg.generator.config import GeneratorShape, Variant
from nvg.generator.generator import TrainingExample
from nvg.generator.structure_flow import StructureGenerator, time_features
from nvg.sampling.config import SamplerConfig
from nvg.sampling.guidance import Guidance, Noise
from nvg.sampling.structure import Flow, sample_structure
from nvg.sequence import Sequences
from tests.nvg.generator.makers import (
    CHANNELS,
    CLASSES,
    RELEASED,
    RMS,
    SCALE,
    make_shape,
    randomize,
)
from tests.nvg.structure import reference

# B image, N position, C latent channel, K structure channel
POSITIONS, LAST = 16, 4
light = settings(deadline=None, max_examples=30)


def make_model(seed: int = 0, shape: GeneratorShape | None = None) -> StructureGenerator:
    """A generator whose every parameter is random, on a 4x4 grid."""
    model = StructureGenerator(shape or make_shape())
    randomize(model, seed, 0.1)
    return model


def make_batch(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs of the loss, without the stages."""
    g = torch.Generator().manual_seed(seed)
    return {
        "canvas": torch.randn(count, POSITIONS, CHANNELS, generator=g),
        "leaves": torch.stack([torch.randperm(POSITIONS, generator=g) for _ in range(count)]),
        "label": torch.randint(CLASSES + 1, (count,), generator=g),
        "noise": torch.randn(count, POSITIONS, LAST, generator=g),
        "time": torch.rand(count, generator=g),
    }


def loss_of(model: StructureGenerator, batch: dict[str, Tensor], stages: list[int]) -> Tensor:
    canvas, leaves, label = batch["canvas"], batch["leaves"], batch["label"]
    sequences = Sequences(leaves, torch.empty(len(leaves), 0), label)
    noise = batch["noise"], batch["time"]
    example = TrainingExample(sequences, label, torch.tensor(stages), canvas, canvas, noise)
    return model.loss(example)[0]["flow"]


def embedding_of(leaves: list[int], stage: int) -> list[list[int]]:
    """The bit embedding of one image's structure map at a stage, by the reference."""
    labels = [reference.label(leaf, stage, LAST) for leaf in leaves]
    return [reference.bit_embedding(label, stage, LAST) for label in labels]


def slow_errors(
    model: StructureGenerator, batch: dict[str, Tensor], image: int, stage: int
) -> list[float]:
    """Squared velocity errors of one image, position by position, of the channels that count.

    Those that are unknown; or all of them, of which the known ones should have no velocity.
    """
    leaves, variant = batch["leaves"][image].tolist(), model.variant
    middle = 1 if variant.structure_values is StructureValues.CENTRED else 0
    clean = [[value - middle for value in row] for row in embedding_of(leaves, LAST)]
    parent = embedding_of(leaves, stage - 1)
    noise, time = batch["noise"][image].tolist(), float(batch["time"][image])
    noisy = [
        [
            clean[n][k] if k < stage - 1 else time * noise[n][k] + (1 - time) * clean[n][k]
            for k in range(LAST)
        ]
        for n in range(POSITIONS)
    ]
    one = slice(image, image + 1)
    velocity = model(
        torch.tensor([noisy]),
        batch["time"][one],
        batch["canvas"][one],
        torch.tensor([parent]),
        batch["label"][one],
        torch.tensor([stage]),
    )[0].tolist()
    errors = []
    for n in range(POSITIONS):
        for k in range(LAST):
            if k >= stage - 1:
                errors.append((velocity[n][k] - (noise[n][k] - clean[n][k])) ** 2)
            elif variant.flow_loss is FlowLoss.ALL:
                errors.append(velocity[n][k] ** 2)
    return errors


@light
@given(stages=st.lists(st.integers(1, LAST), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_inpaint_replaces_the_channels_before_i_minus_1_and_no_other(
    stages: list[int], seed: int
) -> None:
    """Eq. 1: at stage i channels 0..i-2 are known and take their true value; the rest stay."""
    g = torch.Generator().manual_seed(seed)
    noisy, known = (torch.randn(len(stages), POSITIONS, LAST, generator=g) for _ in range(2))
    got = StructureGenerator(make_shape()).inpaint(noisy, known, torch.tensor(stages))
    for image, stage in enumerate(stages):
        assert torch.equal(got[image, :, : stage - 1], known[image, :, : stage - 1])
        assert torch.equal(got[image, :, stage - 1 :], noisy[image, :, stage - 1 :])


@pytest.mark.parametrize("stages", [[1], [3], [1, 2, 3, 1, 3]])
@pytest.mark.parametrize(
    "shape",
    [
        make_shape(),
        make_shape(variant=Variant(structure_values=StructureValues.CENTRED)),
        make_shape(variant=Variant(flow_loss=FlowLoss.ALL)),
        make_shape(variant=RELEASED, canvas_rms=RMS),
    ],
    ids=["classic", "centred", "all channels", "release"],
)
def test_loss_equals_the_slow_reference(stages: list[int], shape: GeneratorShape) -> None:
    """v = eps - s_e against the full leaf embedding, a mean over the channels that count."""
    model, batch = make_model(shape=shape), make_batch(len(stages))
    with torch.no_grad():
        got = float(loss_of(model, batch, stages))
        errors = [
            error
            for image, stage in enumerate(stages)
            for error in slow_errors(model, batch, image, stage)
        ]
    assert got == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize("flow_loss", list(FlowLoss))
def test_a_known_channels_noise_changes_nothing(flow_loss: FlowLoss) -> None:
    """At stage 3 the noise drawn for channels 0 and 1 reaches neither input nor target."""
    model, batch = make_model(shape=make_shape(variant=Variant(flow_loss=flow_loss))), make_batch(2)
    with torch.no_grad():
        before = loss_of(model, batch, [3, 3])
        batch["noise"][..., :2] += 5.0
        assert torch.equal(loss_of(model, batch, [3, 3]), before)
        batch["noise"][..., 2] += 5.0
        assert not torch.equal(loss_of(model, batch, [3, 3]), before)


def test_the_parent_map_only_conditions_the_model() -> None:
    """Swapping two leaves below a stage-2 cluster leaves inputs at stage 3 as they are at t = 1.

    Only the target, channel 2 and later, tells the two apart: the model must not see it.
    """
    model, batch = make_model(), make_batch(1)
    batch["time"].fill_(1.0)
    seen: list[Tensor] = []
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    loss_of(model, batch, [3])
    leaves = batch["leaves"]
    batch["leaves"] = torch.where(leaves == 0, 3, torch.where(leaves == 3, 0, leaves))
    loss_of(model, batch, [3])
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    "shape",
    [make_shape(), make_shape(variant=RELEASED, canvas_rms=RMS)],
    ids=["classic", "release"],
)
def test_gradient_reaches_every_parameter(shape: GeneratorShape) -> None:
    """Once the zero-initialized layers have moved, the loss trains all but the unused stages."""
    model, batch = make_model(shape=shape), make_batch(6)
    batch["label"] = torch.arange(6)
    loss_of(model, batch, [1, 2, 3, 1, 2, 3]).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    stages = model.backbone.stage_embedding.weight.grad
    assert stages is not None
    assert stages.any(1).tolist() == [False, True, True, True, False]


def test_loss_of_the_true_velocity_is_zero() -> None:
    """A model that answers eps - s_e has no loss."""
    batch = make_batch(2)
    clean = torch.tensor([embedding_of(row.tolist(), LAST) for row in batch["leaves"]])

    class Oracle(StructureGenerator):
        def predict(self, *inputs: Any) -> tuple[Tensor, Tensor]:
            return batch["noise"] - clean, torch.empty(0)

    oracle = Oracle(make_shape())
    assert float(loss_of(oracle, batch, [1, 3])) == 0.0


@pytest.mark.parametrize("count", [64, 256])
@pytest.mark.parametrize("time", [0.0, 0.04, 0.5, 1.0])
def test_time_features_equal_the_flux_formula(time: float, count: int) -> None:
    """Cosines, then sines, of 1000 t / 10000^(n / half), n = 0..half-1."""
    half = count // 2
    angles = [1000 * time / 10000 ** (n / half) for n in range(half)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    got = time_features(torch.tensor([time]), count)[0].tolist()
    assert got == pytest.approx(expected, abs=2e-4)


def test_time_changes_the_velocity() -> None:
    """Two times give two predictions for the same noisy input."""
    model, batch = make_model(), make_batch(1)
    parent = torch.ones(1, POSITIONS, LAST, dtype=torch.int64)
    rest = (batch["canvas"], parent, batch["label"], torch.tensor([1]))
    one, other = (model(batch["noise"], torch.tensor([t]), *rest) for t in (0.1, 0.9))
    assert not torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("changed", ["canvas", "noise"])
@pytest.mark.parametrize("condition", list(CanvasCondition))
def test_canvas_and_noisy_channels_reach_the_velocity(
    changed: str, condition: CanvasCondition
) -> None:
    """The current canvas is beside the channels of the noisy embedding, or in its own tokens."""
    shape = make_shape(variant=Variant(canvas_condition=condition))
    model, batch = make_model(shape=shape), make_batch(1)
    parent = torch.ones(1, POSITIONS, LAST, dtype=torch.int64)

    def velocity() -> Tensor:
        return model(
            batch["noise"],
            batch["time"],
            batch["canvas"],
            parent,
            batch["label"],
            torch.tensor([1]),
        )

    before = velocity()
    batch[changed] = batch[changed] + 1.0
    assert not torch.allclose(velocity(), before, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 25])
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("values", list(StructureValues))
@pytest.mark.parametrize("grid", list(TimeGrid))
def test_the_exact_velocity_leads_to_the_true_structure(
    stage: int, steps: int, values: StructureValues, grid: TimeGrid
) -> None:
    """Euler from noise along (z - s_e) / t arrives at s_e in any number of steps: one new bit."""
    leaves = [0, 1, 4, 5, 2, 3, 6, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    assert reference.canonical(leaves) == leaves
    middle = 1 if values is StructureValues.CENTRED else 0
    clean = torch.tensor([embedding_of(leaves, LAST)]).float() - middle

    class Oracle(StructureGenerator):
        def forward(self, *inputs: Any, **angles: Any) -> Tensor:
            noisy, time = inputs[:2]
            return (noisy - clean) / time.view(-1, 1, 1)

    oracle = Oracle(make_shape(variant=Variant(structure_values=values)))
    maps = [torch.tensor([[reference.label(leaf, i, LAST) for leaf in leaves]]) for i in range(4)]
    noise, guide = Noise(0, range(1), torch.device("cpu")), Guidance(torch.tensor([1]), 5, 1.7)
    canvas, settings = (
        torch.zeros(1, POSITIONS, CHANNELS),
        SamplerConfig(flow_steps=steps, time_grid=grid),
    )
    got = sample_structure(Flow(oracle, noise, settings), canvas, maps[stage - 1], stage, guide)
    assert torch.equal(got, maps[stage])


def test_canvas_tokens_come_between_the_class_and_the_structure() -> None:
    """2N + 1 tokens, ids with the parent's structure on both kinds; velocity of the last N."""
    shape = make_shape(variant=Variant(canvas_condition=CanvasCondition.TOKENS))
    model, batch = make_model(shape=shape), make_batch(2)
    tokens: list[Tensor] = []
    ids: list[Tensor] = []
    model.backbone.blocks[0].register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
    model.backbone.rotary.register_forward_pre_hook(lambda _, inputs: ids.append(inputs[0]))
    parent = torch.tensor([embedding_of(row.tolist(), 1) for row in batch["leaves"]])
    rest = (batch["canvas"], parent, batch["label"], torch.tensor([2, 2]))
    velocity, intermediate = model.predict(batch["noise"], batch["time"], *rest, 1)
    assert velocity.shape == (2, POSITIONS, LAST)
    assert intermediate.shape == (2, POSITIONS, 64)
    assert tokens[0].shape == (2, 2 * POSITIONS + 1, 64)
    canvas, structure = tokens[0][:, 1 : 1 + POSITIONS], tokens[0][:, 1 + POSITIONS :]
    torch.testing.assert_close(canvas, model.canvas(batch["canvas"] / SCALE))
    torch.testing.assert_close(structure, model.backbone.input(batch["noise"]))
    assert torch.equal(ids[0], model.backbone.token_ids(parent, CANVAS, STRUCTURE))
