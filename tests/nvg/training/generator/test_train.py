"""Training of the generators on a store: canvases, drawn stages, dropped labels, resuming."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nvg.distributed import World
from nvg.generator.backbone import TransformerConfig
from nvg.generator.config import Generator, GeneratorKind
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.store.format import TOKENIZER_FILE
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import Objective, sample_example
from nvg.training.generator.train import shape_of
from nvg.training.generator.trainer import GeneratorState
from nvg.training.run_dir import RunError
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import fit
from tests.nvg.training.makers import differing, lines_of

CLASSES, LAST = 3, 4
ALONE = World(0, 1, torch.device("cpu"))
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
        tap: int = 0,
    ) -> tuple[Tensor, Tensor]:
        self.seen = {"label": label_B, "stage": stage_B}
        return super().predict(canvas_BNC, embedding_BNK, label_B, stage_B, tap)


class SeenStructure(StructureGenerator):
    """A structure generator that does."""

    def forward(self, *inputs: Tensor) -> Tensor:
        _, time_B, _, _, label_B, stage_B = inputs
        self.seen = {"label": label_B, "stage": stage_B, "time": time_B}
        return super().forward(*inputs)


def models_for(quantizer: MultiGranularityQuantizer) -> dict[GeneratorKind, Generator]:
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


def test_teacher_canvases_are_the_quantisers(store: Store) -> None:
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


def test_the_quantiser_is_the_stores_own_and_frozen(store: Store) -> None:
    """Codebook and refiners are the weights the store carries, and nothing trains them."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    saved = load_file(Path(store.path) / "tokenizer.safetensors")
    assert differing(quantizer.state_dict(), saved) == []
    assert not any(parameter.requires_grad for parameter in quantizer.parameters())


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


def test_the_rate_scales_with_the_batch(store: Store) -> None:
    """1e-4 at batch 256 is 3e-4 at the paper's 768 (A.5)."""
    shape = shape_of(tiny_recipe().generator.content, store)
    assert GeneratorState(
        GeneratorKind.CONTENT, shape, GeneratorTraining(), ALONE
    ).peak_lr == pytest.approx(3e-4)


@pytest.mark.parametrize(("warmup", "rate"), [(1, 0.01), (10, 0.001)])
def test_the_schedule_sets_the_rate(store: Store, tmp_path: Path, warmup: int, rate: float) -> None:
    """Adam's first step moves the weights by the rate itself: 0.64 x 4 / 256, warmed up."""
    for name, lr in (("moved", 0.64), ("still", 0.0)):
        fit(store, tmp_path / name, BOTH, steps=1, warmup=warmup, lr=lr, weight_decay=0.0)
    for part in BOTH:
        weights = [load_file(tmp_path / n / f"{part}.safetensors") for n in ("moved", "still")]
        change = max(
            float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]
        )
        assert change == pytest.approx(rate, rel=0.02)


def test_canvases_are_measured_by_the_codebook(store: Store) -> None:
    """latent_scale is the root mean square of the store's codebook, for both generators."""
    codebook = load_file(Path(store.path) / "tokenizer.safetensors")["codebook"]
    expected = float(codebook.double().square().mean().sqrt())
    for part in BOTH:
        shape = shape_of(getattr(tiny_recipe().generator, part.value), store)
        assert shape.latent_scale == pytest.approx(expected, rel=1e-5)


def test_the_defaults_are_the_papers_d16() -> None:
    """333K steps of 768, 1,000 of warm-up, decay from 80 %, 10 % null class (A.4, A.5)."""
    train = GeneratorTraining()
    assert (train.steps, train.batch_size, train.warmup) == (333_000, 768, 1000)
    assert (train.lr, train.decay_start, train.class_dropout_prob) == (1e-4, 0.8, 0.1)


def test_it_learns_the_store(store: Store, tmp_path: Path) -> None:
    """Canvas error, token entropy and flow loss all fall on a dozen images."""
    fit(store, tmp_path / "run", BOTH, steps=150, batch_size=12, lr=0.1, warmup=5)
    lines = lines_of(tmp_path / "run" / "metrics.jsonl")
    for name in ("canvas", "entropy", "flow"):
        first, last = (sum(line[name] for line in part) for part in (lines[:10], lines[-10:]))
        assert last < 0.9 * first, name


@pytest.mark.parametrize("parts", [BOTH, [GeneratorKind.CONTENT], [GeneratorKind.STRUCTURE]])
def test_a_resumed_run_equals_an_uninterrupted_one(
    store: Store, tmp_path: Path, parts: list[GeneratorKind]
) -> None:
    """Continued from a checkpoint inside an epoch, weights and log end equal to the bit."""
    fit(store, tmp_path / "whole", parts, steps=7)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000007")
    fit(store, tmp_path / "cut", parts, resume=True, steps=7)
    for part in parts:
        weights = [load_file(tmp_path / run / f"{part}.safetensors") for run in ("cut", "whole")]
        assert differing(*weights) == []
    logs = [lines_of(tmp_path / run / "metrics.jsonl") for run in ("cut", "whole")]
    assert logs[0] == logs[1]


def test_a_run_is_not_resumed_on_another_store(store: Store, tmp_path: Path) -> None:
    """Other rows behind the same path are noticed, and both places are named."""
    fit(store, tmp_path / "run", BOTH)
    other = make_store(tmp_path / "other.vgs", rows=11)
    with pytest.raises(RunError, match=r"run .* another store .*other\.vgs"):
        fit(other, tmp_path / "run", BOTH, resume=True)


def test_parts_trained_one_by_one_share_a_directory(store: Store, tmp_path: Path) -> None:
    """Each leaves its own weights, log and checkpoints, and the class names are the store's."""
    for part in BOTH:
        fit(store, tmp_path / "run", [part], name=part.value)
    for part in BOTH:
        assert (tmp_path / "run" / f"{part}.safetensors").exists()
        assert lines_of(tmp_path / "run" / f"metrics-{part}.jsonl")[-1]["step"] == 4
        assert (tmp_path / "run" / "checkpoints" / part / "step-00000004").is_dir()
    names = json.loads((tmp_path / "run" / "classes.json").read_text())
    assert names == store.manifest["classes"]
