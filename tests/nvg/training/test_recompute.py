"""Activation checkpointing: the same gradients to the bit, from less that is kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nvg.distributed import World
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, TransformerConfig
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import ResidualBlock
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import sample_example
from nvg.training.generator.state import GeneratorState
from nvg.training.recompute import recompute_blocks, recompute_segments
from tests.nvg.generator.makers import CHANNELS, CODES, make_shape, randomize
from tests.nvg.quantizer.makers import quantizer_case
from tests.nvg.training.makers import kept_bytes, random_sequences

NOISY = TransformerConfig(depth=3, width=64, heads=2, dropout=0.3, drop_path=0.5)


def gradients(module: nn.Module, loss: Callable[[], Tensor]) -> tuple[dict[str, Tensor], int]:
    """Gradients by name, and the bytes that were kept for them; the draws are those of a seed."""
    module.zero_grad()
    torch.manual_seed(5)
    with kept_bytes(module) as kept:
        value = loss()
    value.backward()
    found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    return found, kept[0]


def require_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """To the bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("part", list(GeneratorKind))
def test_a_generator_has_the_same_gradients(part: GeneratorKind) -> None:
    """With dropout and drop path, whose draws are repeated; less than a third is kept."""
    model = build_generator(part, make_shape(transformer=NOISY))
    randomize(model)
    quantizer = quantizer_case(4, channels=CHANNELS, codes=CODES)[0]
    torch.manual_seed(0)
    batch, training = random_sequences(6, 4, CODES), GeneratorTraining()
    example = sample_example({part: model}, quantizer, batch, training)[part]

    def loss() -> Tensor:
        return torch.stack(list(model.loss(example)[0].values())).sum()

    names = list(model.state_dict())
    plain, kept = gradients(model, loss)
    recompute_blocks(model.backbone.blocks)
    again, less = gradients(model, loss)
    require_same(plain, again)
    assert list(model.state_dict()) == names
    assert less < kept / 3


def test_an_autoencoder_has_the_same_gradients() -> None:
    """Encoder and decoder with attention and dropout; less than a third is kept."""
    config = AutoencoderConfig(
        image_size=32, base_channels=16, multipliers=(1, 2), latent_dim=4, codebook_size=16,
        dropout=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    model, images = Autoencoder(config), torch.rand(2, 3, 32, 32) * 2 - 1

    def loss() -> Tensor:
        rebuilt, quantized = model(images)
        return (rebuilt - images).square().mean() + quantized.loss

    plain, kept = gradients(model, loss)
    for network in (model.encoder, model.decoder):
        recompute_segments(network.layers, ResidualBlock)
    again, less = gradients(model, loss)
    require_same(plain, again)
    assert less < kept / 3


def test_the_last_layer_can_be_asked_before_all() -> None:
    """As the adaptive weight does: its gradient alone first, then all of them."""
    torch.manual_seed(0)
    layers = nn.Sequential(*[nn.Conv2d(2, 2, 3, padding=1) for _ in range(4)])
    values = torch.randn(1, 2, 5, 5)

    def both() -> list[Tensor]:
        loss = layers(values).square().mean()
        (last,) = torch.autograd.grad(loss, next(layers[-1].parameters()), retain_graph=True)
        return [last, *torch.autograd.grad(loss, list(layers.parameters()))]

    plain = both()
    recompute_segments(layers, nn.Conv2d)
    assert all(torch.equal(one, other) for one, other in zip(plain, both(), strict=True))


def test_without_gradients_nothing_is_kept() -> None:
    """Sampling and validation pass through the same networks."""
    layers = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    values = torch.randn(2, 3)
    plain = layers(values)
    recompute_segments(layers, nn.Linear)
    with torch.no_grad(), kept_bytes(layers) as kept:
        assert torch.equal(layers(values), plain)
    assert kept == [0]


def test_a_recipe_asks_for_it() -> None:
    """`checkpoint_activations` of a training."""
    shape, alone = make_shape(transformer=NOISY), World(0, 1, torch.device("cpu"))
    made = []
    for asked in (False, True):
        torch.manual_seed(0)
        training = GeneratorTraining(checkpoint_activations=asked)
        made.append(GeneratorState(GeneratorKind.CONTENT, shape, training, alone))
    quantizer = quantizer_case(4, channels=CHANNELS, codes=CODES)[0]
    torch.manual_seed(0)
    batch = random_sequences(6, 4, CODES)
    models = {GeneratorKind.CONTENT: made[0].model}
    example = sample_example(models, quantizer, batch, made[0].training)[GeneratorKind.CONTENT]
    kept = []
    for state in made:
        with kept_bytes(state.model) as bytes_kept:
            torch.stack(list(state.objective(example).values())).sum()
        kept += bytes_kept
    assert kept[1] < kept[0] / 3
