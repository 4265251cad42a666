"""Memory of training the autoencoder: bytes that a step keeps, from the recipe's sizes."""

from collections.abc import Iterable

import torch
from torch import nn

from nvg.pretrained.efficientnet import SIZE
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import Downsample, ResidualBlock, SpatialAttention, Upsample
from nvg.training.autoencoder.config import (
    AutoencoderPart,
    AutoencoderTraining,
    DiscriminatorKind,
    PerceptualNetwork,
)
from nvg.training.autoencoder.discriminator import PatchDiscriminator
from nvg.training.memory import FLOAT, HALF, Memory, count, trained_memory

# Bytes of an element, in float32 and with bfloat16 convolutions, whose norms stay in float32.
NORM = FLOAT + FLOAT  # its input and its output, which SiLU keeps
ATTENTION = {False: 32, True: 14}  # of a channel and a position; float32 also keeps its weights

# Networks of one size, bytes of a pixel: VGG16 on the reconstruction; PatchGAN behind its blur.
LPIPS = {False: 2440, True: 1340}
PATCH = {False: 420, True: 215}
VGG_PARAMETERS = 14_716_160
# DINO's ViT-S/16 at 224 pixels, bytes of an image: for a gradient to the image, or to the heads.
DINO_GENERATOR = {False: 49_000_000, True: 27_500_000}
DINO_STEP = {False: 10_600_000, True: 5_300_000}
DINO_FROZEN, DINO_HEADS = 21_665_664, 7_386_245
# EfficientNet-Lite0, bytes of a pixel: two images compared; judged, as for DINO.
MAPS = {False: 1640, True: 820}
MAPS_GENERATOR, MAPS_STEP = {False: 2120, True: 1060}, {False: 540, True: 270}
MAPS_FROZEN, MAPS_HEADS = 4_652_008, 219_333


def autoencoder_memory(
    config: AutoencoderConfig, training: AutoencoderTraining, is_mixed: bool
) -> Memory:
    """Memory of training the autoencoder with its losses and its discriminator."""
    with torch.device("meta"):
        model = Autoencoder(config)
        patches = PatchDiscriminator()
    for part in training.frozen:
        getattr(model, part.value).requires_grad_(False)
    kind = training.discriminator.kind
    frozen = _perceptual(training, VGG_PARAMETERS, MAPS_FROZEN)
    frozen += {
        DiscriminatorKind.DINO: DINO_FROZEN,
        DiscriminatorKind.EFFICIENTNET: MAPS_FROZEN,
    }.get(kind, 0)
    found = trained_memory(model, is_mixed, _activation_bytes(model, training, is_mixed), frozen)
    judge = {
        DiscriminatorKind.NONE: 0,
        DiscriminatorKind.PATCH: count(patches.parameters()),
        DiscriminatorKind.DINO: DINO_HEADS,
        DiscriminatorKind.EFFICIENTNET: MAPS_HEADS,
    }[kind]
    return found.with_trained(judge, is_mixed)


def _activation_bytes(model: Autoencoder, training: AutoencoderTraining, is_mixed: bool) -> float:
    """Bytes that a step keeps of one image at its peak.

    The autoencoder's all along, and either those of the discriminator's own step, or those of the
    terms on the reconstruction.
    """
    config, kind = model.config, training.discriminator.kind
    pixels, seen = config.image_size**2, min(config.image_size, SIZE) ** 2
    own = quantizer_bytes(config, training) + 2 * 3 * FLOAT * pixels
    recomputes = training.checkpoint_activations
    own += network_bytes(model.decoder.layers, config.geometry.grid, is_mixed, recomputes)
    if AutoencoderPart.ENCODER not in training.frozen:
        own += network_bytes(model.encoder.layers, config.image_size, is_mixed, recomputes)
    one, both = {
        DiscriminatorKind.NONE: (0, 0),
        DiscriminatorKind.PATCH: (PATCH[is_mixed] * pixels, PATCH[is_mixed] * pixels),
        DiscriminatorKind.DINO: (DINO_GENERATOR[is_mixed], DINO_STEP[is_mixed]),
        DiscriminatorKind.EFFICIENTNET: (
            MAPS_GENERATOR[is_mixed] * seen,
            MAPS_STEP[is_mixed] * seen,
        ),
    }[kind]
    looks = 2 * (2 if training.discriminator.consistency else 1)  # real and fake, each augmented
    perceptual = _perceptual(training, LPIPS[is_mixed], MAPS[is_mixed]) * pixels
    return own + max(looks * both, one + perceptual)


def _perceptual(training: AutoencoderTraining, vgg16: int, efficientnet: int) -> int:
    """The figure of the network of the perceptual term; 0 without one."""
    if not training.loss.perceptual:
        return 0
    return vgg16 if training.loss.network is PerceptualNetwork.VGG16 else efficientnet


def network_bytes(
    layers: Iterable[nn.Module], side: int, is_mixed: bool, recomputes: bool = False
) -> int:
    """Bytes that the layers of an encoder or decoder keep of one image, whose side is `side`.

    One that `recomputes` keeps the inputs of its segments, and all of one segment at a time.
    """
    parts = segment_bytes(layers, side, is_mixed)
    if recomputes:
        return sum(inputs for inputs, _ in parts) + max(kept for _, kept in parts)
    return sum(kept for _, kept in parts)


def segment_bytes(layers: Iterable[nn.Module], side: int, is_mixed: bool) -> list[tuple[int, int]]:
    """(bytes of its input, all that it keeps) of each segment; one begins at a residual block."""
    size, parts = HALF if is_mixed else FLOAT, [(0, 0)]
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            parts.append((size * layer.conv1.in_channels * side**2, 0))
        inputs, sofar = parts[-1]
        kept, side = _layer_bytes(layer, side, is_mixed)
        parts[-1] = inputs, sofar + kept
    return parts


def _layer_bytes(layer: nn.Module, side: int, is_mixed: bool) -> tuple[int, int]:
    """Bytes that one layer keeps of an image whose side is `side` there, and the side after it."""
    size = HALF if is_mixed else FLOAT
    if isinstance(layer, ResidualBlock):
        inputs, outputs = layer.conv1.in_channels, layer.conv1.out_channels
        has_shortcut = is_mixed and inputs != outputs  # its own copy; float32 is there already
        own = size * inputs if has_shortcut else 0
        return ((NORM + size) * (inputs + outputs) + own) * side**2, side
    if isinstance(layer, SpatialAttention):
        weights = 0 if is_mixed else FLOAT * side**4
        return ATTENTION[is_mixed] * layer.out.in_channels * side**2 + weights, side
    if isinstance(layer, Downsample):
        return size * layer.conv.in_channels * (side + 1) ** 2, side // 2
    if isinstance(layer, Upsample):
        return size * layer.conv.in_channels * (2 * side) ** 2, 2 * side
    if isinstance(layer, nn.GroupNorm):
        return NORM * layer.num_channels * side**2, side
    return size * layer.in_channels * side**2 if isinstance(layer, nn.Conv2d) else 0, side


def quantizer_bytes(config: AutoencoderConfig, training: AutoencoderTraining) -> int:
    """Bytes that the quantizer keeps of one image, in float32 always.

    A stage keeps what is scattered, its canvas and the indices; IBQ and the entropy also keep
    probabilities of all codes for every token.
    """
    geometry, channels = config.geometry, config.latent_dim
    positions, tokens = geometry.stages * geometry.positions, geometry.tokens
    total = positions * (8 * channels + 8) + tokens * (8 + 4 * channels)
    total += FLOAT * geometry.positions * channels
    if training.ibq_steps:
        total += positions * (12 * channels + 16)
        total += 8 * tokens * (channels + config.codebook_size)
    if training.loss.entropy:
        total += positions * (4 * channels + 8)
        total += 4 * tokens * (channels + 2 * config.codebook_size)
    return total
