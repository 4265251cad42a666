"""What a step minimizes: canvases, random stages, dropped labels, the terms."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nvg.choices import FlowLoss, FlowNoise
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind, Variant
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.structure_flow import StructureGenerator
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import Objective, draw_stages, sample_example
from tests.makers import tiny_recipe
from tests.nvg.generator.makers import make_shape, randomize
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for

CLASSES, LAST = 3, 4
BOTH = [GeneratorKind.CONTENT, GeneratorKind.STRUCTURE]


class SeenContent(ContentGenerator):
    """A content generator that remembers the labels and stages it was given."""

    def predict(self, *inputs: Any, **angles: Any) -> tuple[Tensor, Tensor]:
        self.seen = {"label": inputs[2], "stage": inputs[3]}
        return super().predict(*inputs, **angles)


class SeenStructure(StructureGenerator):
    """A structure generator that does."""

    def predict(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        _, time_B, _, _, label_B, stage_B, _ = inputs
        self.seen = {"label": label_B, "stage": stage_B, "time": time_B}
        return super().predict(*inputs)


def models_for(quantizer: MultiGranularityQuantizer, **variant: Any) -> dict[GeneratorKind, Any]:
    """Both generators, remembering, of a variant."""
    codes, channels = quantizer.codebook.shape
    shape = make_shape(
        classes=CLASSES,
        codebook_size=codes,
        latent_dim=channels,
        latent_scale=1.0,
        variant=Variant(**variant),
    )
    return {
        GeneratorKind.CONTENT: SeenContent(shape),
        GeneratorKind.STRUCTURE: SeenStructure(shape),
    }


def lose(
    models: dict[GeneratorKind, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    share: float,
) -> dict[GeneratorKind, dict[str, Tensor]]:
    """The loss terms of both models on a batch that is drawn for."""
    training = GeneratorTraining(class_dropout_prob=share)
    drawn = sample_example(models, quantizer, batch, training)
    return {part: Objective(model)(drawn[part]) for part, model in models.items()}


def batch_of(store: Store, copies: int = 1) -> Sequences:
    """Every row of the first view, `copies` times."""
    parts = (store.leaves[:][:, 0], store.content[:][:, 0], store.label[:])
    return Sequences(
        *(torch.from_numpy(p.astype("int64")).repeat(copies, *[1] * (p.ndim - 1)) for p in parts)
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def test_teacher_canvases_are_the_quantizers(store: Store) -> None:
    """From tokens alone: before stage i the canvas of stage i - 1, zero before stage 0."""
    quantizer, batch = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), batch_of(store)
    image_B1 = torch.arange(12).unsqueeze(1)
    stages = [image_B1 % (LAST + 1), torch.cat((image_B1 + 3, image_B1 + 1), 1) % (LAST + 1)]
    before, final = quantizer.teacher_canvases(batch.content, batch.leaves, stages)
    for canvases, drawn in zip(before, stages, strict=True):
        assert canvases.shape == (*drawn.shape, 16, 4)
        for image, own in enumerate(drawn.tolist()):
            one = slice(image, image + 1)
            for number, stage in enumerate(own):
                expected = torch.zeros(1, 16, 4)
                if stage:
                    expected = quantizer.canvas(batch.content[one], batch.leaves[one], stage - 1)
                torch.testing.assert_close(canvases[one, number], expected)
    torch.testing.assert_close(final, quantizer.canvas(batch.content, batch.leaves, LAST))


@pytest.mark.thorough
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_null_class_replaces_its_share_of_the_labels(store: Store, share: float) -> None:
    """10 % of the labels become the null class, the others stay; the models see the same ones."""
    quantizer, batch = (
        load_quantizer(store.read(TOKENIZER_FILE), store.geometry),
        batch_of(store, 200),
    )
    models = models_for(quantizer)
    torch.manual_seed(0)
    lose(models, quantizer, batch, share)
    label_B = models[GeneratorKind.CONTENT].seen["label"]
    dropped = label_B == CLASSES
    assert torch.equal(label_B[~dropped], batch.label[~dropped])
    assert float(dropped.float().mean()) == pytest.approx(share, abs=0.025)
    assert torch.equal(label_B, models[GeneratorKind.STRUCTURE].seen["label"])


def test_a_missing_label_is_always_the_null_class(store: Store) -> None:
    """Rows without a class train the unconditional model."""
    quantizer, batch = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), batch_of(store)
    batch.label[::2] = -1
    models = models_for(quantizer)
    lose(models, quantizer, batch, 0.0)
    assert models[GeneratorKind.CONTENT].seen["label"][::2].tolist() == [CLASSES] * 6
    assert torch.equal(models[GeneratorKind.CONTENT].seen["label"][1::2], batch.label[1::2])


@pytest.mark.thorough
def test_every_image_learns_one_random_stage(store: Store) -> None:
    """Content 0..K, structure 1..K-1 (stage K is forced), each stage equally often; t in 0..1."""
    quantizer, batch = (
        load_quantizer(store.read(TOKENIZER_FILE), store.geometry),
        batch_of(store, 100),
    )
    models = models_for(quantizer)
    torch.manual_seed(0)
    lose(models, quantizer, batch, 0.1)
    content, structure = (models[part].seen["stage"] for part in BOTH)
    for drawn, wanted in ((content, range(LAST + 1)), (structure, range(1, LAST))):
        counts = torch.bincount(drawn, minlength=LAST + 1)
        assert counts.nonzero().flatten().tolist() == list(wanted)
        expected = 1200 / len(wanted)
        assert (counts[list(wanted)] - expected).abs().max() < 5 * expected**0.5
    time = models[GeneratorKind.STRUCTURE].seen["time"]
    assert 0 <= float(time.min()) < 0.05 < 0.95 < float(time.max()) <= 1


def test_canvases_are_measured_by_the_codebook(store: Store) -> None:
    """latent_scale is the root mean square of the store's codebook, for both generators."""
    codebook = load_file(Path(store.path) / "tokenizer.safetensors")["codebook"]
    expected = float(codebook.double().square().mean().sqrt())
    for part in BOTH:
        shape = shape_for(getattr(tiny_recipe().generator, part.value), store)
        assert shape.latent_scale == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("first", "stop"), [(0, 5), (1, 4), (1, 2)])
@pytest.mark.parametrize("each", [1, 2, 3, 9])
def test_drawn_stages_differ_and_rise(first: int, stop: int, each: int) -> None:
    """Per image as many as asked for, or all there are; every stage equally often."""
    torch.manual_seed(0)
    count, there = 2000, stop - first
    drawn = draw_stages(count, first, stop, each)
    per_image = min(each, there)
    assert drawn.shape == (count, per_image)
    for row in drawn.tolist():
        assert row == sorted(set(row))
        assert set(row) <= set(range(first, stop))
    if each >= there:
        assert drawn.tolist() == [list(range(first, stop))] * count
    expected = count * per_image / there
    counts = torch.bincount(drawn.flatten(), minlength=stop)[first:]
    assert (counts - expected).abs().max() < 5 * expected**0.5


def many_stages(
    store: Store, each: int, **variant: Any
) -> tuple[dict[GeneratorKind, Any], dict[GeneratorKind, TrainingExample]]:
    """Random models, and an example for each of several stages of every image."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    models = models_for(quantizer, **variant)
    for model in models.values():
        randomize(model)
    training = GeneratorTraining(class_dropout_prob=0.0, stages_per_image=each)
    torch.manual_seed(0)
    return models, sample_example(models, quantizer, batch_of(store), training)


@pytest.mark.parametrize("each", [2, 9])
def test_an_example_holds_an_image_once_for_every_stage(store: Store, each: int) -> None:
    """One copy after the other, with its own canvas; the rest is that of the image."""
    quantizer, batch = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), batch_of(store)
    _, examples = many_stages(store, each)
    final = quantizer.canvas(batch.content, batch.leaves)
    for part, there in zip(BOTH, (LAST + 1, LAST - 1), strict=True):
        example, copies = examples[part], min(each, there)
        stages = example.stage.view(12, copies)
        assert all(row == sorted(set(row)) for row in stages.tolist())
        for number in range(12 * copies):
            image, stage = number // copies, int(example.stage[number])
            for name in ("leaves", "content", "label"):
                assert torch.equal(
                    getattr(example.batch, name)[number], getattr(batch, name)[image]
                )
            assert int(example.label[number]) == int(batch.label[image])
            torch.testing.assert_close(example.final[number], final[image])
            one = slice(image, image + 1)
            before = torch.zeros(1, 16, 4)
            if stage:
                before = quantizer.canvas(batch.content[one], batch.leaves[one], stage - 1)
            torch.testing.assert_close(example.canvas[number], before[0])


def example_of_stage(example: TrainingExample, stage: int, copies: int) -> TrainingExample:
    """The copies of all images that train one stage, alone."""
    rows = (example.stage == stage).nonzero().flatten()
    assert len(rows) == len(example.stage) // copies
    batch = example.batch
    return TrainingExample(
        Sequences(batch.leaves[rows], batch.content[rows], batch.label[rows]),
        example.label[rows],
        example.stage[rows],
        example.canvas[rows],
        example.final[rows],
        tuple(part[rows] for part in example.noise),
    )


@pytest.mark.parametrize("part", BOTH)
@torch.no_grad()
def test_all_stages_give_the_mean_loss_of_each_alone(store: Store, part: GeneratorKind) -> None:
    """Every term of an example with all stages; of the flow where all channels count."""
    models, examples = many_stages(store, 9, flow_loss=FlowLoss.ALL)
    model, example = models[part].eval(), examples[part]
    stages = range(LAST + 1) if part is GeneratorKind.CONTENT else range(1, LAST)
    whole, _ = model.loss(example)
    alone = [model.loss(example_of_stage(example, stage, len(stages)))[0] for stage in stages]
    assert len({float(sum(terms.values())) for terms in alone}) == len(stages)
    for name, value in whole.items():
        mean = sum(float(terms[name]) for terms in alone) / len(stages)
        assert float(value) == pytest.approx(mean, rel=1e-5)


@torch.no_grad()
def test_the_stages_of_an_image_are_its_only_stage_forced(store: Store) -> None:
    """An image's copy for a stage is the example that a step of that one stage makes of it."""
    quantizer, batch = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), batch_of(store)
    models, examples = many_stages(store, 9)
    model = models[GeneratorKind.CONTENT].eval()
    losses = []
    for stage in range(LAST + 1):
        stages = torch.full((12, 1), stage)
        (canvas,), final = quantizer.teacher_canvases(batch.content, batch.leaves, [stages])
        example = TrainingExample(batch, batch.label, stages[:, 0], canvas[:, 0], final)
        losses.append({name: float(v) for name, v in model.loss(example)[0].items()})
    for name, value in model.loss(examples[GeneratorKind.CONTENT])[0].items():
        mean = sum(terms[name] for terms in losses) / len(losses)
        assert float(value) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("kind", list(FlowNoise))
def test_the_stages_of_an_image_may_share_its_noise(store: Store, kind: FlowNoise) -> None:
    """Every image has noise of its own; its three stages the same or not, each with its time."""
    _, examples = many_stages(store, 3, flow_noise=kind)
    noise, time = examples[GeneratorKind.STRUCTURE].noise
    assert len(time.unique()) == 36
    distinct = {tuple(part.flatten().tolist()) for part in noise}
    assert len(distinct) == (12 if kind is FlowNoise.SHARED else 36)
    own = noise.unflatten(0, (12, 3))
    assert torch.equal(own, own[:, :1].expand_as(own)) == (kind is FlowNoise.SHARED)
