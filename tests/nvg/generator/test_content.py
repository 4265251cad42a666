"""The content generator against slow per-image references of its logits and its loss (Eq. 3)."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nvg.choices import CanvasScale, ContentStart, Prediction, Skip
from nvg.generator.config import TransformerConfig, Variant
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import TrainingExample
from nvg.geometry import leaf_order
from nvg.sequence import Sequences
from tests.nvg.generator.makers import (
    CHANNELS,
    CLASSES,
    CODES,
    RELEASED,
    RMS,
    SCALE,
    make_shape,
    randomize,
)
from tests.nvg.structure import reference

# B image, N position, n cluster, C latent channel, V code, K structure channel
K, POSITIONS = 4, 16
PER_STAGE: dict[str, Any] = {"canvas_rms": RMS, "variant": Variant(canvas_scale=CanvasScale.STAGE)}


@dataclass(frozen=True)
class Batch:
    """Arbitrary but valid inputs of the loss."""

    canvas: Tensor
    final: Tensor
    leaves: Tensor
    content: Tensor
    label: Tensor


def make_model(seed: int = 0, scale: float = SCALE, **shape: Any) -> ContentGenerator:
    """A generator whose every parameter is random, on a 4x4 grid."""
    config = TransformerConfig(depth=2, width=64, heads=2)
    model = ContentGenerator(make_shape(transformer=config, latent_scale=scale, **shape))
    randomize(model, seed, 0.1)
    return model


def make_batch(count: int, seed: int = 0) -> Batch:
    """Random canvases, permutations as leaves, tokens and labels, the null class among them."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        canvas=torch.randn(count, POSITIONS, CHANNELS, generator=generator),
        final=torch.randn(count, POSITIONS, CHANNELS, generator=generator),
        leaves=torch.stack([torch.randperm(POSITIONS, generator=generator) for _ in range(count)]),
        content=torch.randint(CODES, (count, 2 * POSITIONS - 1), generator=generator),
        label=torch.randint(CLASSES + 1, (count,), generator=generator),
    )


def loss_of(model: ContentGenerator, batch: Batch, stages: list[int]) -> tuple[Tensor, Tensor]:
    example = TrainingExample(
        Sequences(batch.leaves, batch.content, batch.label),
        batch.label,
        torch.tensor(stages),
        batch.canvas,
        batch.final,
    )
    terms, _ = model.loss(example)
    return terms["canvas"], terms["entropy"]


def slow_logits(
    model: ContentGenerator, residual_NC: Tensor, labels: list[int], unit: float = SCALE
) -> Tensor:
    """One linear over the mean residual of every cluster in latent units, one by one: [n, V]."""
    rows = []
    for cluster in range(max(labels) + 1):
        members = [position for position, label in enumerate(labels) if label == cluster]
        mean_C = sum(residual_NC[p] for p in members) / len(members)
        rows.append(model.head.weight @ (mean_C / unit) + model.head.bias)
    return torch.stack(rows)


def slow_loss(
    model: ContentGenerator, batch: Batch, image: int, stage: int, unit: float = SCALE
) -> tuple[float, float]:
    """Squared error of the canvas and mean cross-entropy of the stage's tokens, one image alone."""
    leaves = batch.leaves[image].tolist()
    labels = [reference.label(leaf, stage, K) for leaf in leaves]
    embedding = torch.tensor([[reference.bit_embedding(label, stage, K) for label in labels]])
    one = slice(image, image + 1)
    predicted = model(batch.canvas[one], embedding, batch.label[one], torch.tensor([stage]))[0]
    squared = float((((predicted - batch.final[image]) / unit) ** 2).mean())
    logits = slow_logits(model, predicted - batch.canvas[image], labels, unit)
    tokens = batch.content[image].tolist()[2**stage - 1 :][: 2**stage]
    surprises = [
        -float((row - row.logsumexp(0))[token]) for row, token in zip(logits, tokens, strict=True)
    ]
    return squared, sum(surprises) / len(surprises)


@pytest.mark.parametrize("stage", range(K + 1))
def test_logits_are_the_head_of_the_mean_cluster_residual(stage: int) -> None:
    """Row j is the linear layer on the mean residual, in latent units, over cluster j."""
    model, batch = make_model(), make_batch(2)
    got = model.logits(batch.canvas, leaf_order(batch.leaves), stage)
    assert got.shape == (2, 2**stage, CODES)
    for image in range(2):
        labels = [reference.label(leaf, stage, K) for leaf in batch.leaves[image].tolist()]
        torch.testing.assert_close(got[image], slow_logits(model, batch.canvas[image], labels))


@pytest.mark.parametrize("stages", [[0], [K], [0, K, 2, 2, 1, 3, 0], [3, 1, 4, 4]])
@pytest.mark.parametrize(
    ("shape", "unit"),
    [({}, SCALE), ({"variant": Variant(skip=Skip.NONE)}, SCALE), (PER_STAGE, 1.0)],
    ids=["classic", "no skip", "scale per stage"],
)
def test_loss_equals_the_slow_reference(
    stages: list[int], shape: dict[str, Any], unit: float
) -> None:
    """Both terms are means over images, each with its own stage; a scale per stage has unit 1."""
    model, batch = make_model(**shape), make_batch(len(stages))
    with torch.no_grad():
        squared, entropy = loss_of(model, batch, stages)
        expected = [slow_loss(model, batch, n, stage, unit) for n, stage in enumerate(stages)]
    count = len(stages)
    assert float(squared) == pytest.approx(sum(e[0] for e in expected) / count, rel=1e-4)
    assert float(entropy) == pytest.approx(sum(e[1] for e in expected) / count, rel=1e-4)


def test_loss_does_not_depend_on_the_order_of_the_batch() -> None:
    """Grouping images by stage keeps every image with its own tokens."""
    model, batch, stages = make_model(), make_batch(5), [2, 0, 4, 2, 1]
    order = torch.tensor([4, 2, 0, 3, 1])
    moved = Batch(*(getattr(batch, name)[order] for name in Batch.__dataclass_fields__))
    with torch.no_grad():
        first = loss_of(model, batch, stages)
        second = loss_of(model, moved, [stages[n] for n in order])
    torch.testing.assert_close(second, first)


@pytest.mark.parametrize("shape", [{}, {"canvas_rms": RMS, "variant": RELEASED}])
def test_gradient_reaches_every_parameter(shape: dict[str, Any]) -> None:
    """Once the zero-initialized layers have moved, both terms together train everything."""
    model, batch = make_model(**shape), make_batch(6)
    stages = [0, 1, 2, 3, 4, 2]
    batch.label.copy_(torch.arange(6) % (CLASSES + 1))
    torch.stack(loss_of(model, batch, stages)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_cross_entropy_alone_trains_the_backbone() -> None:
    """The token loss goes back through the predicted canvas, not into the head only."""
    model, batch = make_model(), make_batch(2)
    loss_of(model, batch, [1, 3])[1].backward()
    assert model.backbone.input.weight.grad is not None
    assert model.backbone.input.weight.grad.any()


@pytest.mark.parametrize("factor", [0.01, 8.0])
def test_the_loss_does_not_know_the_size_of_the_latents(factor: float) -> None:
    """Latents and latent_scale multiplied by the same number give the same loss."""
    batch, stages = make_batch(3), [0, 2, 4]
    larger = replace(batch, canvas=batch.canvas * factor, final=batch.final * factor)
    with torch.no_grad():
        expected = loss_of(make_model(), batch, stages)
        got = loss_of(make_model(scale=SCALE * factor), larger, stages)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_fresh_model_predicts_its_own_canvas() -> None:
    """Zero initialization leaves the canvas as it is, whatever the condition."""
    torch.manual_seed(0)
    config = TransformerConfig(depth=1, width=64, heads=1)
    model = ContentGenerator(make_shape(transformer=config))
    batch = make_batch(2)
    embedding = torch.ones(2, POSITIONS, K, dtype=torch.int64)
    predicted = model(batch.canvas, embedding, batch.label, torch.tensor([0, 3]))
    assert torch.equal(predicted, batch.canvas)


def test_the_structure_reaches_the_prediction() -> None:
    """Another structure map changes the prediction: the rotary embedding carries it."""
    model, batch = make_model(), make_batch(1)
    maps = [torch.ones(1, POSITIONS, K, dtype=torch.int64) for _ in range(2)]
    maps[1][:, : POSITIONS // 2, 0] = 0
    maps[1][:, POSITIONS // 2 :, 0] = 2
    with torch.no_grad():
        one, other = (model(batch.canvas, m, batch.label, torch.tensor([1])) for m in maps)
    assert not torch.allclose(one, other, atol=1e-5)


def test_direct_prediction_has_no_canvas_error() -> None:
    """A canvas that overflows leaves the loss of direct prediction finite: only tokens count."""
    model, batch = make_model(variant=Variant(prediction=Prediction.DIRECT)), make_batch(2)
    example = TrainingExample(
        Sequences(batch.leaves, batch.content, batch.label),
        batch.label,
        torch.tensor([1, 3]),
        batch.canvas,
        torch.full_like(batch.final, torch.inf),
    )
    terms, _ = model.loss(example)
    assert list(terms) == ["entropy"]
    assert terms["entropy"].isfinite()


def traced(
    model: ContentGenerator, canvas: Tensor, stages: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees, what it gives, and what the model makes of that."""
    seen: list[Tensor] = []
    model.backbone.register_forward_hook(
        lambda _, inputs, output: seen.extend((inputs[0], output[0]))
    )
    embedding = torch.ones(*canvas.shape[:2], K, dtype=torch.int64)
    label = torch.zeros(len(canvas), dtype=torch.int64)
    with torch.no_grad():
        predicted = model(canvas, embedding, label, torch.tensor(stages))
    return seen[0], seen[1], predicted


def test_a_scale_per_stage_divides_the_input_and_multiplies_the_output() -> None:
    """Each canvas by the root mean square of its stage, the output by that of the last."""
    model, canvas, stages = make_model(**PER_STAGE), make_batch(4).canvas, [0, 2, 4, 3]
    seen, given, predicted = traced(model, canvas, stages)
    for image, stage in enumerate(stages):
        torch.testing.assert_close(seen[image], canvas[image] / RMS[stage])
        torch.testing.assert_close(predicted[image], canvas[image] + RMS[-1] * given[image])


def test_without_a_skip_the_output_is_the_final_canvas() -> None:
    """In its unit: nothing of the input canvas is added to it."""
    model = make_model(variant=Variant(skip=Skip.NONE))
    _, given, predicted = traced(model, make_batch(2).canvas, [1, 3])
    torch.testing.assert_close(predicted, SCALE * given)


def test_a_learnt_start_stands_for_the_canvas_of_stage_0() -> None:
    """There the network sees the parameter, at every other stage the canvas."""
    model = make_model(variant=Variant(content_start=ContentStart.LEARNT))
    canvas = make_batch(3).canvas
    seen, _, _ = traced(model, canvas, [0, 2, 0])
    assert torch.equal(seen[0], model.start)
    assert torch.equal(seen[2], model.start)
    torch.testing.assert_close(seen[1], canvas[1] / SCALE)


@pytest.mark.parametrize(("stages", "is_trained"), [([0, 2], True), ([1, 2], False)])
def test_only_stage_0_trains_the_learnt_start(stages: list[int], is_trained: bool) -> None:
    """The gradient of its loss reaches the parameter, that of other stages does not."""
    model = make_model(variant=Variant(content_start=ContentStart.LEARNT))
    torch.stack(loss_of(model, make_batch(2), stages)).sum().backward()
    assert model.start.grad is not None
    assert bool(model.start.grad.any()) == is_trained
