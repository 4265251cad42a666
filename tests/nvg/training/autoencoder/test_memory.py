"""The formula of the autoencoder's memory, against the bytes that autograd keeps: within 6 %."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from nvg.distributed import World
from nvg.pretrained.efficientnet import FeatureDistance
from nvg.pretrained.lpips import Perceptual
from nvg.pretrained.names import RANDOM
from nvg.quantizer import MultiGranularityQuantizer
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import Decoder, Encoder, ResidualBlock
from nvg.training.autoencoder.adversarial import DiscriminatorTrainer, Schedule
from nvg.training.autoencoder.config import (
    AutoencoderPart,
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
    LossConfig,
    PerceptualNetwork,
)
from nvg.training.autoencoder.discriminator import (
    FeatureDiscriminator,
    MapDiscriminator,
    PatchDiscriminator,
)
from nvg.training.autoencoder.losses import autoencoder_loss
from nvg.training.autoencoder.memory import (
    DINO_FROZEN,
    DINO_GENERATOR,
    DINO_HEADS,
    DINO_STEP,
    LPIPS,
    MAPS,
    MAPS_FROZEN,
    MAPS_GENERATOR,
    MAPS_HEADS,
    MAPS_STEP,
    PATCH,
    VGG_PARAMETERS,
    autoencoder_memory,
    network_bytes,
    quantizer_bytes,
    segment_bytes,
)
from nvg.training.recompute import recompute_segments
from tests.nvg.training.reference import as_on_a_gpu, kept_of_one

TOLERANCE = 0.06
CONFIGS = [
    AutoencoderConfig(
        image_size=size,
        base_channels=width,
        multipliers=multipliers,
        blocks=blocks,
        attention=attention,
        latent_dim=8,
        codebook_size=codes,
    )
    for size, width, multipliers, blocks, attention, codes in (
        (16, 32, (1, 2), 1, True, 64),
        (32, 32, (1, 2, 2), 2, True, 16),
        (32, 64, (1, 1, 2), 1, False, 256),
        (64, 16, (1, 1, 2, 4), 2, True, 64),
    )
]
PLAIN = AutoencoderTraining()


@pytest.mark.thorough
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "training", [PLAIN, AutoencoderTraining(ibq_steps=1, loss=LossConfig(entropy=0.1))]
)
def test_a_loss_keeps_what_the_formula_says(
    config: AutoencoderConfig, training: AutoencoderTraining
) -> None:
    """Several sizes, widths, depths and codebooks; with IBQ and entropy, and without."""
    model, extra = Autoencoder(config), training is not PLAIN

    def forward(count: int) -> object:
        images = torch.rand(count, 3, config.image_size, config.image_size)
        rebuilt, quantized = model(images, None, extra, extra)
        return autoencoder_loss(training.loss, images, rebuilt, quantized)

    kept = kept_of_one(model, forward)
    found = autoencoder_memory(config, training, False).activations
    assert found == pytest.approx(kept, rel=TOLERANCE)


@pytest.mark.parametrize(
    "config", [CONFIGS[0], *(pytest.param(c, marks=pytest.mark.thorough) for c in CONFIGS[1:])]
)
def test_a_gpu_keeps_what_the_formula_says(
    config: AutoencoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoder and decoder under autocast."""
    side, grid = config.image_size, config.geometry.grid
    with as_on_a_gpu(monkeypatch):
        encoder, decoder = Encoder(config), Decoder(config)
        kept = kept_of_one(encoder, lambda n: encoder(torch.zeros(n, 3, side, side)))
        found = network_bytes(encoder.layers, side, True)
        assert found == pytest.approx(kept, rel=TOLERANCE)
        canvas = config.geometry.positions, config.latent_dim
        kept = kept_of_one(decoder, lambda n: decoder(torch.zeros(n, *canvas)))
        found = network_bytes(decoder.layers, grid, True)
    assert found == pytest.approx(kept, rel=TOLERANCE)


@pytest.mark.thorough
@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_recomputed_is_not_kept(
    config: AutoencoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inputs of the segments are, on a CPU and on a GPU; one segment is there besides."""
    side = config.image_size
    for is_mixed in (False, True):
        with as_on_a_gpu(monkeypatch) if is_mixed else nullcontext():
            encoder = Encoder(config)
            recompute_segments(encoder.layers, ResidualBlock)
            kept = kept_of_one(encoder, lambda n, net=encoder: net(torch.zeros(n, 3, side, side)))  # type: ignore[misc]
            parts = segment_bytes(encoder.layers, side, is_mixed)
        inputs = sum(each for each, _ in parts)
        assert inputs == pytest.approx(kept - 12 * side**2, rel=0.1)
        found = network_bytes(encoder.layers, side, is_mixed, recomputes=True)
        assert found == inputs + max(all_of_it for _, all_of_it in parts)
        assert found < 0.8 * network_bytes(encoder.layers, side, is_mixed)


@pytest.mark.parametrize("training", [PLAIN, AutoencoderTraining(ibq_steps=1)])
@pytest.mark.parametrize("config", CONFIGS)
def test_the_quantizer_is_counted_exactly(
    config: AutoencoderConfig, training: AutoencoderTraining
) -> None:
    """Every canvas, index and probability."""
    geometry, channels = config.geometry, config.latent_dim
    model = MultiGranularityQuantizer(config.codebook_size, channels, geometry)

    def forward(count: int) -> object:
        latents = torch.randn(count, geometry.positions, channels, requires_grad=True)
        leaves = torch.stack([torch.randperm(geometry.positions) for _ in range(count)])
        return model(latents * 1, leaves, training.ibq_steps > 0)

    assert quantizer_bytes(config, training) == kept_of_one(model, forward)


@pytest.mark.thorough
@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("side", [32, 64])
def test_networks_of_one_size_keep_so_much_a_pixel(side: int, is_mixed: bool) -> None:
    """VGG16 and PatchGAN, under the CPU's own autocast; the blur has a part of its own."""
    judge, perceptual = PatchDiscriminator(), Perceptual(RANDOM, side)
    real = torch.rand(4, 3, side, side)

    def run(model: torch.nn.Module, *others: torch.Tensor) -> float:
        def forward(count: int) -> object:
            fake = torch.rand(count, 3, side, side, requires_grad=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                return model(fake, *(each[:count] for each in others))

        return kept_of_one(model, forward) / side**2

    found = run(perceptual, real)
    assert LPIPS[is_mixed] == pytest.approx(found, rel=0.01)
    assert 0.75 < run(judge) / PATCH[is_mixed] < 1
    assert sum(p.numel() for p in perceptual.parameters()) == VGG_PARAMETERS


@pytest.mark.thorough
@pytest.mark.parametrize("consistency", [0.0, 8.0])
def test_a_discriminator_adds_the_larger_of_its_two_uses(consistency: float) -> None:
    """Its own step looks at real and fake images, once or twice; at most a third is estimated too
    much."""
    judge = DiscriminatorConfig(
        kind=DiscriminatorKind.PATCH, start=0, ramp=0.1, consistency=consistency
    )
    plan = Schedule(steps=10, lr=1e-4, betas=(0.5, 0.9), weight_decay=0.0, clip=1.0)
    trainer = DiscriminatorTrainer(judge, plan, World(0, 1, torch.device("cpu")))
    config, training = CONFIGS[3], AutoencoderTraining(discriminator=judge)

    def images(count: int) -> torch.Tensor:
        return torch.rand(count, 3, config.image_size, config.image_size)

    def step_of(count: int) -> object:
        return trainer.discriminator_step(0, [(1.0, images(count), images(count))])

    step = kept_of_one(trainer, step_of)
    term = kept_of_one(trainer, lambda n: trainer.generator_loss(0, images(n).requires_grad_()))
    assert step > 1.5 * term
    with_it, without = (autoencoder_memory(config, each, False) for each in (training, PLAIN))
    added = with_it.activations - without.activations
    assert step < added < 4 / 3 * step
    numbers = sum(p.numel() for p in trainer.discriminator.parameters())
    assert with_it.fixed - without.fixed == 16 * numbers


def test_losses_and_frozen_parts_count() -> None:
    """LPIPS adds its network and what it keeps; a frozen encoder keeps nothing, nor has moments."""
    config = CONFIGS[0]
    plain = autoencoder_memory(config, PLAIN, False)
    lpips = AutoencoderTraining(loss=LossConfig(perceptual=1.0, vgg=RANDOM))
    seen = autoencoder_memory(config, lpips, False)
    assert seen.parameters - plain.parameters == 4 * VGG_PARAMETERS
    assert seen.activations - plain.activations == LPIPS[False] * config.image_size**2
    frozen = AutoencoderTraining(frozen=(AutoencoderPart.ENCODER,))
    found = autoencoder_memory(config, frozen, False)
    encoder = Encoder(config)
    numbers = sum(p.numel() for p in encoder.parameters())
    assert found.parameters == plain.parameters
    assert plain.optimizer - found.optimizer == 8 * numbers
    kept = network_bytes(encoder.layers, config.image_size, False)
    assert plain.activations - found.activations == kept


@pytest.mark.thorough
@pytest.mark.parametrize("is_mixed", [False, True])
def test_dino_keeps_so_much_an_image(tmp_path: Path, is_mixed: bool) -> None:
    """With random weights; larger images are cropped or shrunk to its 224 pixels."""
    timm = pytest.importorskip("timm")
    name = DiscriminatorConfig.model
    weights = timm.create_model(name, pretrained=False, num_classes=0).state_dict()
    torch.save(weights, tmp_path / "vit.pth")
    judge = FeatureDiscriminator(name, tmp_path / "vit.pth")
    frozen = judge._frozen[0]
    assert sum(p.numel() for p in judge.parameters()) == DINO_HEADS
    assert sum(p.numel() for p in frozen.parameters()) == DINO_FROZEN
    both = torch.nn.ModuleList([judge, frozen])

    def kept(to_image: bool) -> float:
        judge.requires_grad_(not to_image)

        def forward(count: int) -> object:
            images = torch.rand(count, 3, 64, 64, requires_grad=to_image)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                return judge(images)

        return kept_of_one(both, forward, 1)

    assert DINO_GENERATOR[is_mixed] == pytest.approx(kept(True), rel=TOLERANCE)
    assert DINO_STEP[is_mixed] == pytest.approx(kept(False), rel=TOLERANCE)


@pytest.mark.thorough
@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("side", [32, 96])
def test_maps_keep_so_much_a_pixel(efficientnet_package: Path, side: int, is_mixed: bool) -> None:
    """Compared, or judged: for a gradient to the image, or to the heads."""
    distance, judge = FeatureDistance(), MapDiscriminator()
    frozen, real = judge._frozen[0], torch.rand(4, 3, side, side)
    assert sum(p.numel() for p in judge.parameters()) == MAPS_HEADS
    assert sum(p.numel() for p in frozen.parameters()) == MAPS_FROZEN

    def kept(model: torch.nn.Module, to_image: bool, *others: torch.Tensor) -> float:
        judge.requires_grad_(not to_image)

        def forward(count: int) -> object:
            fake = torch.rand(count, 3, side, side, requires_grad=to_image)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                return model(fake, *(each[:count] for each in others))

        return kept_of_one(torch.nn.ModuleList([model, frozen]), forward) / side**2

    for constant, found in (
        (MAPS, kept(distance, True, real)),
        (MAPS_GENERATOR, kept(judge, True)),
        (MAPS_STEP, kept(judge, False)),
    ):
        assert constant[is_mixed] == pytest.approx(found, rel=TOLERANCE)


def test_maps_count_with_the_losses() -> None:
    """In the perceptual term and in the discriminator, a network each."""
    config = CONFIGS[0]
    loss = LossConfig(perceptual=1.0, network=PerceptualNetwork.EFFICIENTNET)
    judge = DiscriminatorConfig(kind=DiscriminatorKind.EFFICIENTNET)
    plain = autoencoder_memory(config, PLAIN, False)
    compared = autoencoder_memory(config, AutoencoderTraining(loss=loss), False)
    both = AutoencoderTraining(loss=loss, discriminator=judge)
    seen = autoencoder_memory(config, both, False)
    assert compared.parameters - plain.parameters == 4 * MAPS_FROZEN
    assert compared.activations - plain.activations == MAPS[False] * config.image_size**2
    assert seen.parameters - plain.parameters == 4 * (2 * MAPS_FROZEN + MAPS_HEADS)
