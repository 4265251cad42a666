"""The sampling verb's library side: loading a run, naming classes, drawing pictures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nvg.config import ConfigError
from nvg.errors import InputError
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import Generators, class_ids, load_generators
from nvg.sequence import Sequences
from nvg.store.layout import create_store
from nvg.weights import CheckpointError
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.sample import write_samples
from pipeline.train import fit_generator
from tests.makers import CLASSES, png_size, tiny_recipe
from tests.nvg.sampling.makers import sampled, write_run
from tests.nvg.store.makers import make_store, tokenizer_files
from tests.nvg.structure import reference
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

CONFIG = SamplerConfig(flow_steps=2)
NAMES = ["ant", "bee", "2", "cat"]


def write_picture(
    run: Path, wanted: list[str], number: int, seed: int, settings: list[str], png: Path
) -> None:
    """Samples in one picture."""
    options = SampleOptions(label=wanted, number=number, seed=seed, settings=settings, png=png)
    write_samples(run, options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return write_run(tmp_path_factory.mktemp("generate"))


@pytest.fixture(scope="module")
def generators(run: Path) -> Generators:
    """What that run loads to."""
    return load_generators(run)


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ([], [0, 1, 2, 3]),
        (["cat", "ant"], [3, 0]),
        (["1", "3"], [1, 3]),
        (["2"], [2]),
        (["bee", "bee"], [1, 1]),
        (["1,cat"], [1, 3]),
        (["0-2", "cat, 0"], [0, 1, 2, 3, 0]),
    ],
)
def test_classes_are_named_or_numbered(wanted: list[str], ids: list[int]) -> None:
    """By name first, by id otherwise, in the order asked for; all when none is asked for."""
    assert class_ids(NAMES, wanted) == ids


@pytest.mark.parametrize("name", ["dog", "4", "-1", "", "Ant", "²", "1.0", "0-4", "2-1", "-"])
def test_an_unknown_class_is_refused(name: str) -> None:
    """The message names it and lists the known ones."""
    with pytest.raises(InputError, match="ant, bee") as caught:
        class_ids(NAMES, [name])
    assert repr(name) in str(caught.value)


def test_a_name_may_hold_a_comma_or_look_like_a_range() -> None:
    """The whole word is looked for first."""
    assert class_ids(["tench, fish", "0-2", "ray", "5"], ["tench, fish", "0-2", "5"]) == [0, 1, 3]


def test_many_classes_are_not_all_listed() -> None:
    """Of ImageNet's thousand the message shows a dozen and the count."""
    with pytest.raises(InputError, match=r"1000 \(.*, \.\.\.\)") as caught:
        class_ids([f"class {n}" for n in range(1000)], ["dog"])
    assert len(str(caught.value)) < 250


def test_a_run_loads_in_eval_mode_with_its_classes(generators: Generators) -> None:
    """A run stands alone: generators, decoder and names come from its own directory."""
    modules = (generators.content, generators.structure, generators.detokenizer)
    assert not any(module.training for module in modules)
    assert generators.classes == list(CLASSES)


def test_images_are_the_decoded_samples(generators: Generators) -> None:
    """What `images` returns is the decoder's picture of what was sampled."""
    labels = [0, 2, 1]
    made = sampled(generators.sampler(CONFIG), labels, 5)
    expected = generators.detokenizer.decode(made.content, made.leaves)
    got = generators.images(labels, 5, CONFIG)
    assert (got.dtype, got.shape) == (torch.uint8, (3, 3, 8, 8))
    assert torch.equal(got, expected)


def test_the_canvas_of_a_sample_is_that_of_its_tokens(generators: Generators) -> None:
    """To the bit: an image is decoded from the canvas that sampling ended with."""
    (made,) = generators.sampler(CONFIG).batches([0, 2, 1, -1], 7)
    quantizer, tokens = generators.detokenizer.quantizer, made.sequences
    assert torch.equal(made.canvas, quantizer.canvas(tokens.content, tokens.leaves))


@pytest.fixture(scope="module")
def traced(run: Path) -> tuple[Generators, Sequences, dict[str, list[tuple[Tensor, ...]]]]:
    """A sample of the classes 0 and 2 in 3 flow steps, and every input the generators got."""
    loaded = load_generators(run)
    calls: dict[str, list[tuple[Tensor, ...]]] = {"content": [], "structure": []}
    for name, seen in calls.items():
        model = getattr(loaded, name)
        model.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs))
    made = sampled(loaded.sampler(SamplerConfig(flow_steps=3)), [0, 2], 0)
    return loaded, made, calls


def expected_inputs(loaded: Generators, made: Sequences, stage: int) -> tuple[Tensor, Tensor]:
    """The canvas before a stage, and the bit embedding of the stage's structure map."""
    canvas = torch.zeros(2, 16, 4)
    if stage:
        canvas = loaded.detokenizer.quantizer.canvas(made.content, made.leaves, stage - 1)
    maps = [[reference.label(leaf, stage, 4) for leaf in row] for row in made.leaves.tolist()]
    rows = [[reference.bit_embedding(label, stage, 4) for label in row] for row in maps]
    return canvas, torch.tensor(rows)


def test_content_is_sampled_once_a_stage(traced: tuple[Any, ...]) -> None:
    """Alg. 2: from the canvas so far and the stage's own structure; guided after stage 0."""
    loaded, made, calls = traced
    assert len(calls["content"]) == 5
    for stage, (canvas, embedding, label, stages) in enumerate(calls["content"]):
        wanted = expected_inputs(loaded, made, stage)
        torch.testing.assert_close(canvas[:2], wanted[0])
        assert torch.equal(embedding[:2], wanted[1])
        assert label.tolist() == ([0, 2, 3, 3] if stage else [0, 2])
        assert set(stages.tolist()) == {stage}


def test_structure_flows_from_noise_to_data(traced: tuple[Any, ...]) -> None:
    """Alg. 2, Eq. 1: stages 1..K-1, t from 1 by equal steps, known channels held to the parent."""
    loaded, made, calls = traced
    assert len(calls["structure"]) == 3 * 3
    for number, inputs in enumerate(calls["structure"]):
        stage, step = 1 + number // 3, number % 3
        noisy, time, canvas, parent, label, stages = inputs
        assert time.tolist() == pytest.approx([1 - step / 3] * 4)
        torch.testing.assert_close(canvas[:2], expected_inputs(loaded, made, stage)[0])
        assert torch.equal(parent[:2], expected_inputs(loaded, made, stage - 1)[1])
        known = stage - 1
        assert torch.equal(noisy[..., :known], parent[..., :known].float())
        assert label.tolist() == [0, 2, 3, 3]
        assert set(stages.tolist()) == {stage}


def test_more_images_begin_with_the_same_ones(generators: Generators) -> None:
    """Image i depends on seed and i: a longer list across batches repeats the shorter one."""
    short, long = (generators.images([1] * count, 3, CONFIG) for count in (2, 70))
    assert len(long) == 70
    assert torch.equal(long[:2], short)
    assert not torch.equal(generators.images([1] * 2, 4, CONFIG), short)


@pytest.mark.parametrize("name", ["content.safetensors", "structure.safetensors"])
def test_a_missing_generator_is_named(own: Path, name: str) -> None:
    """The message says which file is missing and the command that makes it."""
    for file in own.glob(f"{name.partition('.')[0]}*"):
        file.unlink()
    with pytest.raises(InputError, match=f"{own} holds no {name}.*nvgctl train generator"):
        load_generators(own)


@pytest.mark.parametrize(
    "name",
    ["content-ema.safetensors", "structure-ema.safetensors", "detokenizer.safetensors"],
)
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_weights_are_named(own: Path, name: str, damage: str) -> None:
    """Truncated, foreign or empty weights are refused by name, not with a stack of errors."""
    data = (own / name).read_bytes()
    (own / name).write_bytes({"cut": data[:-50], "text": b"hello" * 9, "empty": b""}[damage])
    with pytest.raises(CheckpointError, match=str(own / name)):
        load_generators(own)


@pytest.mark.parametrize("name", ["classes.json", "detokenizer.safetensors"])
def test_a_missing_companion_is_named(own: Path, name: str) -> None:
    """A run without its class names or its decoder cannot be sampled, and the message says so."""
    (own / name).unlink()
    with pytest.raises(InputError, match=name):
        load_generators(own)


def test_generators_of_two_tokenizers_are_refused(own: Path, tmp_path: Path) -> None:
    """A content generator of another tokenizer's tokens does not sample with this decoder."""
    model = tiny_autoencoder(seed=7)
    first = make_store(tmp_path / "first.vgs", rows=10)
    manifest = replace(first.manifest, tokenizer="f" * 64)
    files = {
        name: data.replace(first.manifest.tokenizer.encode(), b"f" * 64)
        for name, data in tokenizer_files(tiny_model())[0].items()
    }
    assert model.config == tiny_autoencoder().config
    second = create_store(str(tmp_path / "second.vgs"), manifest, files)
    rows = first.index
    for chunk in range(second.chunks):
        at = second.chunk_slice(chunk)
        arrays = {name: first.group[name][at] for name in ("leaves", "content", "label")}
        second.write_chunk(chunk, arrays, rows.slice(at.start, at.stop - at.start))
    second.finish()
    fit_generator(tiny_recipe(), second.path, tmp_path / "other", "content", False)
    shutil.copy(tmp_path / "other" / "content-ema.safetensors", own)
    with pytest.raises(InputError, match=r"content-ema\.safetensors was trained .* ffffffffffff"):
        load_generators(own)


def test_parts_trained_on_two_stores_are_refused(tmp_path: Path) -> None:
    """Stores of one tokenizer but other classes: refused when training or loading."""
    run = write_run(tmp_path, only="content")
    other = make_store(tmp_path / "other.vgs", rows=10, classes=("x", "y"))

    def train_and_load() -> None:
        fit_generator(tiny_recipe(tmp_path / "images"), other.path, run, "structure", False)
        load_generators(run)

    with pytest.raises(InputError, match="store"):
        train_and_load()


def test_parts_trained_one_after_the_other_sample_together(tmp_path: Path) -> None:
    """--only content, then --only structure into one directory, is a run like any other."""
    run = write_run(tmp_path, only="content")
    store = str(tmp_path / "tokens.vgs")
    fit_generator(tiny_recipe(tmp_path / "images"), store, run, "structure", False)
    write_picture(run, [], 1, 0, [], tmp_path / "out.png")
    assert png_size(tmp_path / "out.png") == (29 + 68, 4 + 3 * 68)


@pytest.mark.parametrize("number", [1, 3])
def test_a_picture_has_a_row_per_class(run: Path, tmp_path: Path, number: int) -> None:
    """Tiles of 64 with gaps of 4, below a gap, beside the longest class name."""
    write_picture(run, ["cat", "0"], number, 0, [], tmp_path / "deep" / "out.png")
    assert png_size(tmp_path / "deep" / "out.png") == (29 + number * 68, 4 + 2 * 68)


def test_every_tile_is_its_image(run: Path, generators: Generators, tmp_path: Path) -> None:
    """Row by row the images of one class after the other, each pixel enlarged 8 times."""
    write_picture(run, ["cat", "ant"], 2, 7, [], tmp_path / "out.png")
    made = generators.images([2, 2, 0, 0], 7, CONFIG).permute(0, 2, 3, 1).numpy()
    with Image.open(tmp_path / "out.png") as image:
        picture = np.asarray(image)
    for number in range(4):
        top, left = 4 + number // 2 * 68, 29 + number % 2 * 68
        tile = picture[top : top + 64, left : left + 64]
        assert np.array_equal(tile, made[number].repeat(8, axis=0).repeat(8, axis=1))


def test_seed_and_settings_reach_the_sampler(run: Path, tmp_path: Path) -> None:
    """The same seed draws the same picture; another seed or another recipe value another one."""
    cases = {"a": (0, []), "b": (0, []), "c": (1, []), "d": (0, ["sample.top_p=0.01"])}
    for name, (seed, settings) in cases.items():
        write_picture(run, [], 2, seed, settings, tmp_path / f"{name}.png")
    made = {name: (tmp_path / f"{name}.png").read_bytes() for name in cases}
    assert made["a"] == made["b"]
    assert made["c"] != made["a"]
    assert made["d"] != made["a"]


def test_a_wrong_setting_is_refused_by_key(run: Path, tmp_path: Path) -> None:
    """Overrides are as strict as the recipe."""
    with pytest.raises(ConfigError, match=r"sample\.colour"):
        write_picture(run, [], 1, 0, ["sample.colour=1"], tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_classes_of_the_run_name_the_rows(own: Path, tmp_path: Path) -> None:
    """A name is looked up among the run's own classes, not among the recipe's data."""
    (own / "classes.json").write_text(json.dumps(["x", "y", "z"]))
    write_picture(own, ["y"], 1, 0, [], tmp_path / "out.png")
    with pytest.raises(InputError, match="unknown class 'ant'"):
        write_picture(own, ["ant"], 1, 0, [], tmp_path / "out.png")
