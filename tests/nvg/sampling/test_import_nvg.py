"""The release's generators in our networks: numbers its own code gave for weights by formula."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nvg.config import build
from nvg.generator.config import GeneratorKind
from nvg.generator.generator import TrainingExample
from nvg.geometry import bit_embedding, labels
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import Generators, load_generators
from nvg.sampling.guidance import Noise
from nvg.sampling.import_nvg import import_generators, save_generators
from nvg.sequence import Sequences
from nvg.weights import CheckpointError, read_header
from pipeline.recipe.profiles import RELEASE
from tests.nvg.makers import release, release_generators, waves

K, STAGES = 8, 9
LABEL = torch.tensor([3, 7])


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Generators:
    """A run directory of the imported checkpoint, loaded."""
    path = tmp_path_factory.mktemp("release")
    torch.save({"state_dict": release_generators()}, path / "d2.ckpt")
    save_generators(import_generators(path / "d2.ckpt"), path / "run")
    return load_generators(path / "run")


class Given(Noise):
    """The same noise at every stage; the tokens are the likeliest, so nothing else is drawn."""

    def __init__(self) -> None:
        super().__init__(0, range(2), torch.device("cpu"))

    def normal(self, *shape: int) -> Tensor:
        """The numbers that the release's code was given."""
        return 1.4 * waves(2, *shape, power=1.2, factor=0.9)


def sequences() -> Sequences:
    """The two images that the release's code tokenized."""
    leaves, content = (torch.tensor(release()[name]) for name in ("leaves", "content"))
    return Sequences(leaves, content, LABEL)


def examples(generators: Generators, part: GeneratorKind) -> list[TrainingExample]:
    """A training example of every stage that a network trains, with the release's noise."""
    batch, quantizer = sequences(), generators.sampler(SamplerConfig()).quantizer
    canvases = [quantizer.empty_canvas(2), *quantizer.canvases(batch.content, batch.leaves)]
    time_BS = waves(2, 7, 1, 1, power=1.2, factor=0.9).mul(1.4).sigmoid().flatten(1)
    noise = 1.4 * waves(2, 256, K, power=1.2, factor=0.9)
    is_content = part is GeneratorKind.CONTENT
    return [
        TrainingExample(
            batch,
            LABEL,
            torch.full((2,), stage),
            canvases[stage],
            canvases[-1],
            () if is_content else (noise, time_BS[:, stage - 1]),
        )
        for stage in (range(STAGES) if is_content else range(1, K))
    ]


def close(found: Tensor, wanted: list[float], step: int) -> bool:
    """Whether every `step`-th number is the wanted one within 1e-5."""
    return torch.allclose(found.flatten()[::step], torch.tensor(wanted), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_content_of_every_stage_is_the_releases(generators: Generators) -> None:
    """The predicted final canvas and the logits."""
    model = generators.content
    for stage, example in enumerate(examples(generators, GeneratorKind.CONTENT)):
        structure = labels(example.batch.leaves, stage, K)
        embedding = bit_embedding(structure, stage, K)
        predicted = model(example.canvas, embedding, LABEL, example.stage)
        assert close(predicted, release()["final"][stage], 331)
        order = structure.argsort(dim=1, stable=True)
        logits = model.logits(predicted - example.canvas, order, stage)
        assert close(logits, release()["logits"][stage], 173)


@torch.no_grad()
def test_velocities_are_the_releases(generators: Generators) -> None:
    """Seven stages at three times."""
    model, noise = generators.structure, 1.4 * waves(2, 256, K, power=1.2, factor=0.9)
    for example, wanted in zip(
        examples(generators, GeneratorKind.STRUCTURE), release()["velocities"], strict=True
    ):
        stage = int(example.stage[0])
        parent = bit_embedding(labels(example.batch.leaves, stage - 1, K), stage - 1, K)
        known = model.inpaint(noise, model.values(parent), example.stage)
        for time, numbers in zip((0.9, 0.5, 0.1), wanted, strict=True):
            times = torch.full((2,), time)
            found = model(known, times, example.canvas, parent, LABEL, example.stage)
            assert close(found, numbers, 331)


@torch.no_grad()
def test_training_losses_are_the_releases(generators: Generators) -> None:
    """Cross-entropy and canvas error of nine stages, the flow's of seven."""
    content = [
        generators.content.loss(example)[0]
        for example in examples(generators, GeneratorKind.CONTENT)
    ]
    structure = [
        generators.structure.loss(example)[0]
        for example in examples(generators, GeneratorKind.STRUCTURE)
    ]
    for name, terms, key in (
        ("canvas_losses", content, "canvas"),
        ("entropy_losses", content, "entropy"),
        ("structure_losses", structure, "flow"),
    ):
        assert [float(term[key]) for term in terms] == pytest.approx(release()[name], rel=1e-4)


@pytest.mark.thorough
def test_a_guided_sampling_is_the_releases(generators: Generators) -> None:
    """Alg. 2 with 25 flow steps and both guidances, the likeliest tokens: every bit and token."""
    config = replace(build(SamplerConfig, RELEASE["sample"]), top_k=1)
    found = generators.sampler(config).sample(LABEL, Given())
    assert found.sequences.leaves.tolist() == release()["sampled_leaves"]
    assert found.sequences.content.tolist() == release()["sampled_content"]
    assert close(found.canvas, release()["sampled_canvas"], 97)


def test_ema_and_last_weights_are_both_kept(generators: Generators, tmp_path: Path) -> None:
    """In files of their own, with the tokenizer they belong to."""
    torch.save({"state_dict": release_generators()}, tmp_path / "d2.ckpt")
    imported = import_generators(tmp_path / "d2.ckpt")
    assert sorted(imported.weights) == ["content", "content-ema", "structure", "structure-ema"]
    assert not imported.weights["content"]["head.weight"].any()
    assert imported.weights["content-ema"]["head.weight"].any()
    save_generators(imported, tmp_path)
    identity = read_header(tmp_path / "content.safetensors")["tokenizer"]
    assert identity == generators.tokenizer


def test_ema_weights_alone_are_a_whole_run(tmp_path: Path) -> None:
    """They stand for the last ones too."""
    whole = release_generators()
    state = {name: value for name, value in whole.items() if not name.startswith("nvgformer.")}
    torch.save({"state_dict": state}, tmp_path / "d2.ckpt")
    imported = import_generators(tmp_path / "d2.ckpt")
    assert sorted(imported.weights) == ["content", "content-ema", "structure", "structure-ema"]
    assert imported.weights["content"]["head.weight"].any()


@pytest.mark.thorough
def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    """A weight lost, one too many, one of another shape, no tokenizer, other heads."""
    name = "ema_model.nvgformer.{}".format
    lost, more, bent, heads, scales, few, start, nan = (release_generators() for _ in range(8))
    for prefix in ("nvgformer.", "ema_model.nvgformer."):
        few[f"{prefix}structure_class_embed.weight"] = torch.zeros(9, 64)
    del start["nvgformer.content_start_embed"]
    nan["nvgformer.content_embed.bias"][0] = torch.nan
    del lost[name("structure_blocks.1.linear2.bias")]
    more[name("cls_head.adaLN_modulation.1.weight")] = torch.zeros(1)
    bent[name("content_start_embed")] = torch.zeros(1, 64, 8)
    heads[name("content_blocks.0.norm.query_norm.scale")] = torch.zeros(128)
    scales[name("scale_factors")] = torch.zeros(10)
    cases = {
        "lost": (lost, r"structure_blocks\.1\.linear2\.bias is missing"),
        "more": (more, r"cls_head\.adaLN_modulation\.1\.weight has no place"),
        "bent": (bent, r"content_start_embed is \(64, 8\), not \(256, 8\)"),
        "heads": (heads, r"heads of 128 channels"),
        "scales": (scales, r"scale_factors are not positive"),
        "few": (few, r"content has 10 classes, structure 8"),
        "start": (start, r"content_start_embed is missing"),
        "nan": (nan, r"content_embed\.bias holds NaN or Inf"),
        "alone": (
            release_generators(with_autoencoder=False),
            r"name an imported one",
        ),
    }
    for case, (state, words) in cases.items():
        torch.save({"state_dict": state}, tmp_path / f"{case}.ckpt")
        with pytest.raises(CheckpointError, match=words):
            import_generators(tmp_path / f"{case}.ckpt")
