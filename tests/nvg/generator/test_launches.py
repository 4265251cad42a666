"""Both generators on a GPU, without one: which numbers they compute in, and how many kernels."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.layers import OutputLinear
from nvg.generator.structure_flow import StructureGenerator
from nvg.precision import Part, numbers
from nvg.sequence import Sequences
from pipeline.recipe.presets import PRESETS
from tests.nvg.generator.makers import RELEASED, RMS, make_shape
from tests.nvg.launches import Launches, fake_cuda

# B image, N position, C channel, K structure channel
CUDA = torch.device("cuda")
PARTS: list[dict[str, Any]] = [{}, {"variant": RELEASED, "canvas_rms": RMS}]
# Of one forward pass of d16 in bfloat16, and what only its tables of angles take.
MOST = {GeneratorKind.CONTENT: 440, GeneratorKind.STRUCTURE: 450}
MOST_OF_ANGLES = 17


@pytest.fixture
def _fake() -> Iterator[None]:
    """Tensors are fake from here on."""
    with fake_cuda():
        yield


def inputs(model: Generator, channels: int, batch: int = 2) -> list[Tensor]:
    """What a forward pass gets."""
    positions, K = model.backbone.geometry.positions, model.backbone.geometry.K
    canvas_BNC = torch.randn(batch, positions, channels, device=CUDA)
    embedding_BNK = torch.ones(batch, positions, K, dtype=torch.int64, device=CUDA)
    label_B = torch.zeros(batch, dtype=torch.int64, device=CUDA)
    rest = [canvas_BNC, embedding_BNK, label_B, torch.ones_like(label_B)]
    if isinstance(model, ContentGenerator):
        return rest
    noisy_BNK = torch.randn(batch, positions, K, device=CUDA)
    return [noisy_BNK, torch.rand(batch, device=CUDA), *rest]


def on_gpu(part: GeneratorKind, shape: GeneratorShape) -> Generator:
    with CUDA:
        return build_generator(part, shape)


@pytest.mark.thorough
@pytest.mark.usefixtures("_fake")
@pytest.mark.parametrize("part", list(GeneratorKind))
def test_a_d16_forward_pass_takes_few_kernels(part: GeneratorKind) -> None:
    """With every cast that autocast makes; attention is one. The angles can be made before."""
    shape = make_shape(
        transformer=TransformerConfig(**PRESETS["d16"][part.value]),
        grid=16,
        classes=1000,
        codebook_size=4096,
        latent_dim=32,
    )
    model = on_gpu(part, shape).eval()
    assert isinstance(model, ContentGenerator | StructureGenerator)
    given = inputs(model, 32)
    with torch.no_grad(), numbers(Part.BLOCKS, CUDA):
        model(*given)  # casts the weights, which autocast keeps
        with Launches() as tables:
            angles = model.angles_of(given[-3])
        with Launches() as launches:
            model(*given, angles=angles)
    assert tables.count <= MOST_OF_ANGLES
    assert launches.count + tables.count <= MOST[part]
    assert (launches.copies, launches.waits) == (0, 0)


@pytest.mark.thorough
@pytest.mark.usefixtures("_fake")
@pytest.mark.parametrize("parts", PARTS, ids=["paper", "release"])
@pytest.mark.parametrize("part", list(GeneratorKind))
def test_what_leaves_the_blocks_is_float32(part: GeneratorKind, parts: dict[str, Any]) -> None:
    """The residual stream, the output and the logits; products inside the blocks are bfloat16."""
    model = on_gpu(part, make_shape(**parts))
    seen: dict[str, torch.dtype] = {}

    def watch(name: str, layer: nn.Module) -> None:
        layer.register_forward_hook(lambda *call: seen.__setitem__(name, call[2].dtype))

    block = model.backbone.blocks[0]
    watch("stream", block)
    watch("product", block.get_submodule("linear_in"))
    with numbers(Part.BLOCKS, CUDA):
        output = model(*inputs(model, 3))
        if isinstance(model, ContentGenerator):
            order = torch.arange(16, device=CUDA).expand(2, -1)
            assert model.logits(output, order, 2).dtype == torch.float32
    assert output.dtype == torch.float32
    assert seen == {"stream": torch.float32, "product": torch.bfloat16}


@pytest.mark.thorough
@pytest.mark.parametrize("parts", PARTS, ids=["paper", "release"])
@pytest.mark.parametrize("part", list(GeneratorKind))
def test_a_loss_under_autocast_is_float32(part: GeneratorKind, parts: dict[str, Any]) -> None:
    """Every term, of a batch of several stages; rows and stages are each copied once."""
    stage = torch.tensor([1, 3, 2, 1])
    with fake_cuda():
        model = on_gpu(part, make_shape(**parts))
        canvas = torch.randn(4, 16, 3, device=CUDA)
        leaves = torch.arange(16, device=CUDA).expand(4, -1)
        content = torch.zeros(4, 31, dtype=torch.int64, device=CUDA)
        label = torch.zeros(4, dtype=torch.int64, device=CUDA)
        batch = Sequences(leaves, content, label)
        noise = model.draw_noise(canvas)
        example = TrainingExample(batch, label, stage, canvas, canvas, noise)
        with Launches() as launches, numbers(Part.BLOCKS, CUDA):
            terms, _ = model.loss(example)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        assert launches.copies <= 2


def test_an_output_linear_takes_weights_of_any_dtype() -> None:
    """As sharded training casts them: the sum is one of float32."""
    linear = OutputLinear(8, 3).to(torch.bfloat16)
    given = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    weight, bias = linear.weight.detach().float(), linear.bias.detach().float()
    expected = given @ weight.T + bias
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(linear(given), expected, rtol=1e-6, atol=1e-6)
