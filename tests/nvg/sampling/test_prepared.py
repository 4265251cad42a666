"""Generators prepared for many images: batches of another size, compiled networks."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torch._dynamo as dynamo

from nvg.sampling.config import MANY, Compile, SamplerConfig
from nvg.sampling.generators import Generators, load_generators
from tests.nvg.sampling.makers import write_run

CONFIG, LABELS = SamplerConfig(flow_steps=2), [0, 2, 1, 0, 3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return write_run(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def generators(run: Path) -> Generators:
    """What it loads to, for one test: compiling changes the networks in place."""
    return load_generators(run)


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_batch_size_changes_no_image(generators: Generators, batch: int) -> None:
    """Only how many are sampled at once."""
    prepared = generators.prepared(batch, Compile.OFF, len(LABELS))
    sizes = [len(pixels) for _, pixels in prepared.batches(LABELS, 5, CONFIG)]
    assert sizes == {1: [1] * 5, 2: [2, 2, 1], 100: [5]}[batch]
    assert torch.equal(prepared.images(LABELS, 5, CONFIG), generators.images(LABELS, 5, CONFIG))


@pytest.mark.parametrize(
    ("choice", "device", "images", "expected"),
    [
        (Compile.AUTO, "cuda", MANY, True),
        (Compile.AUTO, "cuda", MANY - 1, False),
        (Compile.AUTO, "cpu", 10 * MANY, False),
        (Compile.ON, "cpu", 1, True),
        (Compile.OFF, "cuda", 10 * MANY, False),
    ],
)
def test_compiling_is_for_many_images_on_a_gpu(
    choice: Compile, device: str, images: int, expected: bool
) -> None:
    """Unless it is said."""
    assert choice.wants(device, images) == expected


@pytest.mark.thorough
def test_compiled_networks_sample_the_same(
    generators: Generators, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced whole: a function a network and the decoder for a batch size, one for all others."""
    made: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        made.append(graph)
        return graph

    expected = generators.images(LABELS, 5, CONFIG)
    dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep, fullgraph=True))
    prepared = generators.prepared(2, Compile.ON, len(LABELS))
    assert torch.equal(prepared.images(LABELS, 5, CONFIG), expected)
    assert 0 < len(made) <= 6
    dynamo.reset()


@pytest.mark.slow
def test_inductor_samples_nearly_the_same(generators: Generators) -> None:
    """Compiled for this machine: the networks round otherwise, their images are alike."""
    expected = generators.images(LABELS, 5, CONFIG).float()
    dynamo.reset()
    made = generators.prepared(8, Compile.ON, len(LABELS)).images(LABELS, 5, CONFIG).float()
    dynamo.reset()
    assert float((made - expected).abs().mean()) < 2
