"""What a step minimizes: canvases, random stages, dropped labels, the terms."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nvg.generator.config import GeneratorKind, TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator
from nvg.generator.structure_flow import StructureGenerator
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.store.format import TOKENIZER_FILE
from nvg.training.generator.objective import Objective, sample_example
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for

CLASSES, LAST = 3, 4
BOTH = [GeneratorKind.CONTENT, GeneratorKind.STRUCTURE]


SHAPE = TransformerConfig(depth=1, width=64, heads=2)


class SeenContent(ContentGenerator):
    """A content generator that remembers the labels and stages it was given."""

    def predict(
        self,
        canvas_BNC: Tensor,
        embedding_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        intermediate_block: int = 0,
    ) -> tuple[Tensor, Tensor]:
        self.seen = {"label": label_B, "stage": stage_B}
        return super().predict(canvas_BNC, embedding_BNK, label_B, stage_B, intermediate_block)


class SeenStructure(StructureGenerator):
    """A structure generator that does."""

    def predict(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        _, time_B, _, _, label_B, stage_B, _ = inputs
        self.seen = {"label": label_B, "stage": stage_B, "time": time_B}
        return super().predict(*inputs)


def models_for(quantizer: MultiGranularityQuantizer) -> dict[GeneratorKind, Any]:
    """Both generators, remembering."""
    codes, channels = quantizer.codebook.shape
    geometry = quantizer.geometry
    return {
        GeneratorKind.CONTENT: SeenContent(SHAPE, geometry, CLASSES, codes, channels, 1.0),
        GeneratorKind.STRUCTURE: SeenStructure(SHAPE, geometry, CLASSES, channels, 1.0),
    }


def lose(
    models: dict[GeneratorKind, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    share: float,
) -> dict[GeneratorKind, dict[str, Tensor]]:
    """The loss terms of both models on a batch that is drawn for."""
    drawn = sample_example(models, quantizer, batch, share)
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
    stages = [torch.arange(12) % (LAST + 1), (torch.arange(12) + 3) % (LAST + 1)]
    before, final = quantizer.teacher_canvases(batch.content, batch.leaves, stages)
    for canvases, drawn in zip(before, stages, strict=True):
        for image, stage in enumerate(drawn.tolist()):
            one = slice(image, image + 1)
            expected = torch.zeros(1, 16, 4)
            if stage:
                expected = quantizer.canvas(batch.content[one], batch.leaves[one], stage - 1)
            torch.testing.assert_close(canvases[one], expected)
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
