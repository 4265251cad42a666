"""The structure generator: inpainting (Eq. 1), flow-matching loss and time features."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.generator.config import TransformerConfig
from nvg.generator.generator import TrainingExample
from nvg.generator.structure_flow import StructureGenerator, inpaint, time_features
from nvg.geometry import Geometry
from nvg.sampling.config import SamplerConfig
from nvg.sampling.guidance import Guidance, Noise
from nvg.sampling.structure import sample_structure
from nvg.sequence import Sequences
from tests.nvg.generator.makers import randomize
from tests.nvg.structure import reference

# B image, N position, C latent channel, K structure channel
CHANNELS, CLASSES, POSITIONS = 3, 5, 16
LAST = 4
light = settings(deadline=None, max_examples=30)


def make_model(seed: int = 0) -> StructureGenerator:
    """A generator whose every parameter is random, on a 4x4 grid."""
    config = TransformerConfig(depth=1, width=64, heads=2)
    model = StructureGenerator(config, Geometry(4), CLASSES, CHANNELS, 2.0)
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
    """Squared velocity errors of one image, position by position, unknown channels only."""
    leaves = batch["leaves"][image].tolist()
    clean, parent = embedding_of(leaves, LAST), embedding_of(leaves, stage - 1)
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
    return [
        (velocity[n][k] - (noise[n][k] - clean[n][k])) ** 2
        for n in range(POSITIONS)
        for k in range(stage - 1, LAST)
    ]


@light
@given(stages=st.lists(st.integers(1, LAST), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_inpaint_replaces_the_channels_before_i_minus_1_and_no_other(
    stages: list[int], seed: int
) -> None:
    """Eq. 1: at stage i channels 0..i-2 are known and take their true value; the rest stay."""
    g = torch.Generator().manual_seed(seed)
    noisy, known = (torch.randn(len(stages), POSITIONS, LAST, generator=g) for _ in range(2))
    got = inpaint(noisy, known, torch.tensor(stages))
    for image, stage in enumerate(stages):
        assert torch.equal(got[image, :, : stage - 1], known[image, :, : stage - 1])
        assert torch.equal(got[image, :, stage - 1 :], noisy[image, :, stage - 1 :])


@pytest.mark.parametrize("stages", [[1], [3], [1, 2, 3, 1, 3]])
def test_loss_equals_the_slow_reference(stages: list[int]) -> None:
    """v = eps - s_e against the full leaf embedding, a mean over the unknown channels only."""
    model, batch = make_model(), make_batch(len(stages))
    with torch.no_grad():
        got = float(loss_of(model, batch, stages))
        errors = [
            error
            for image, stage in enumerate(stages)
            for error in slow_errors(model, batch, image, stage)
        ]
    assert got == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_a_known_channels_noise_changes_nothing() -> None:
    """At stage 3 the noise drawn for channels 0 and 1 reaches neither input nor target."""
    model, batch = make_model(), make_batch(2)
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


def test_gradient_reaches_every_parameter() -> None:
    """Once the zero-initialized layers have moved, the loss trains all but the unused stages."""
    model, batch = make_model(), make_batch(6)
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

    config = TransformerConfig(depth=1, width=64, heads=2)
    oracle = Oracle(config, Geometry(4), CLASSES, CHANNELS, 2.0)
    assert float(loss_of(oracle, batch, [1, 3])) == 0.0


@pytest.mark.parametrize("time", [0.0, 0.04, 0.5, 1.0])
def test_time_features_equal_the_flux_formula(time: float) -> None:
    """Cosines, then sines, of 1000 t / 10000^(n / 128), n = 0..127."""
    angles = [1000 * time / 10000 ** (n / 128) for n in range(128)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    got = time_features(torch.tensor([time]))[0].tolist()
    assert got == pytest.approx(expected, abs=2e-4)


def test_time_changes_the_velocity() -> None:
    """Two times give two predictions for the same noisy input."""
    model, batch = make_model(), make_batch(1)
    parent = torch.ones(1, POSITIONS, LAST, dtype=torch.int64)
    rest = (batch["canvas"], parent, batch["label"], torch.tensor([1]))
    one, other = (model(batch["noise"], torch.tensor([t]), *rest) for t in (0.1, 0.9))
    assert not torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("changed", ["canvas", "noise"])
def test_canvas_and_noisy_channels_reach_the_velocity(changed: str) -> None:
    """The current canvas is concatenated on the channels of the noisy embedding."""
    model, batch = make_model(), make_batch(1)
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
def test_the_exact_velocity_leads_to_the_true_structure(stage: int, steps: int) -> None:
    """Euler from noise along (z - s_e) / t arrives at s_e in any number of steps: one new bit."""
    leaves = [0, 1, 4, 5, 2, 3, 6, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    assert reference.canonical(leaves) == leaves
    clean = torch.tensor([embedding_of(leaves, LAST)]).float()

    class Oracle(StructureGenerator):
        def forward(self, *inputs: Tensor) -> Tensor:
            noisy, time = inputs[:2]
            return (noisy - clean) / time.view(-1, 1, 1)

    config = TransformerConfig(depth=1, width=64, heads=2)
    oracle = Oracle(config, Geometry(4), CLASSES, CHANNELS, 2.0)
    maps = [torch.tensor([[reference.label(leaf, i, LAST) for leaf in leaves]]) for i in range(4)]
    noise, guide = Noise(0, range(1), torch.device("cpu")), Guidance(torch.tensor([1]), 5, 1.7)
    canvas, settings = torch.zeros(1, POSITIONS, CHANNELS), SamplerConfig(flow_steps=steps)
    got = sample_structure(oracle, canvas, maps[stage - 1], stage, guide, noise, settings)
    assert torch.equal(got, maps[stage])
