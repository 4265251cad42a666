"""The tokenizer: encoder and decoder around the residual quantizer (Sec. 2.1, A.5).

Legend: B image of a batch, N position, T token, S stage, D row or column of pixels or of the
grid.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from nvg.choices import ChildOrder, EncoderPrecision
from nvg.files import write_atomic
from nvg.precision import encoder_numbers
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.residual import Quantized, ResidualQuantizer
from nvg.quantizer.scale import ScalePyramidQuantizer
from nvg.structure import build_leaves, order_by_merging
from nvg.tokenizer.config import AutoencoderConfig, Pyramid
from nvg.tokenizer.encoder_decoder import Decoder, Encoder
from nvg.weights import CheckpointError, load_weights, read_config, weights_bytes


def _quantizer(config: AutoencoderConfig) -> ResidualQuantizer:
    codes, channels, geometry = config.codebook_size, config.latent_dim, config.geometry
    if config.pyramid is Pyramid.SCALE:
        return ScalePyramidQuantizer(codes, channels, geometry.grid, config.phi, config.phis)
    return MultiGranularityQuantizer(codes, channels, geometry, config.phi, config.phis)


class Detokenizer(nn.Module):
    """Tokens -> images: codebook, residual convs phi and decoder; enough to sample and to view."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = _quantizer(config)
        self.decoder = Decoder(config)

    @property
    def choices(self) -> list[str]:
        """Choices that are not the defaults: with the weights, the identity of a tokenizer."""
        ours, first = self.config, AutoencoderConfig()
        names = ("phi", "phis", "child_order", "space_weight")
        changed = [name for name in names if getattr(ours, name) != getattr(first, name)]
        return [f"{name} {getattr(ours, name)}" for name in changed]

    @torch.no_grad()
    def render(self, canvas: Tensor) -> Tensor:
        """Pixels uint8 [B, 3, D, D] of a canvas [B, N, C]."""
        return to_pixels(self.decoder(canvas))

    @torch.no_grad()
    def decode(self, content: Tensor, leaves: Tensor, stage: int | None = None) -> Tensor:
        """Pixels uint8 [B, 3, D, D] of the canvas after `stage` (the last by default)."""
        return self.render(self.quantizer.canvas(content, leaves, stage))


class Autoencoder(Detokenizer):
    """Images <-> (leaves, content): the tokenizer."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.is_trusted = True  # a config in hand; `load_autoencoder` asks whose word a file's is

    def forward(
        self,
        images: Tensor,
        segments: Tensor | None = None,
        ibq: bool = False,
        with_entropy: bool = False,
    ) -> tuple[Tensor, Quantized]:
        """Reconstruction [B, 3, D, D] of images in [-1, 1], and the quantizer's output.

        `segments` [B, N] are label maps, for a builder that takes them; the other options are the
        quantizer's.
        """
        latents = self.encoder(images).float()
        leaves = self.leaves(latents, segments)
        quantized = self.quantizer(latents, leaves, ibq, with_entropy)
        return self.decoder(quantized.canvas), quantized

    @torch.no_grad()
    def tokenize(
        self,
        pixels: Tensor,
        segments: Tensor | None = None,
        precision: EncoderPrecision = EncoderPrecision.FP32,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels uint8 [B, 3, D, D] -> leaves [B, N], content [B, 2N-1], stage error [B, K+1]."""
        latents = self.latents(pixels, precision)
        leaves = self.leaves(latents, segments)
        return (leaves, *self.quantizer.measure(latents, leaves))

    @torch.no_grad()
    def latents(
        self, pixels: Tensor, precision: EncoderPrecision = EncoderPrecision.FP32
    ) -> Tensor:
        """Latents [B, N, C] of pixels uint8 [B, 3, D, D], in float32 however they are computed."""
        with encoder_numbers(precision, pixels.device):
            return self.encoder(from_pixels(pixels)).float()

    def leaves(self, latents: Tensor, segments: Tensor | None = None) -> Tensor:
        """Leaves [B, N] of latents [B, N, C] by the builder that the config names.

        Scales have no structure: positions in order stand in for it. CheckpointError where that
        builder is code which only a file has named.
        """
        if not self.is_trusted:
            require_trusted(self.config, "its weights file")
        if self.config.pyramid is Pyramid.SCALE:
            positions = self.config.geometry.positions
            return torch.arange(positions, device=latents.device).expand(len(latents), -1)
        weight = self.config.space_weight
        options = {"segments": segments, "space_weight": weight}
        given = {name: option for name, option in options.items() if option is not None}
        leaves = build_leaves(latents, self.config.builder, **given)
        if self.config.child_order is ChildOrder.MERGING:
            return order_by_merging(latents, leaves, weight or 0.0)
        return leaves


def from_pixels(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 0..255, rounded and clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


AUTOENCODER_FILE = "autoencoder.safetensors"
INNER = "autoencoder"  # in a run of generators that has its tokenizer in it: that run


def save_autoencoder(model: Autoencoder, out: Path) -> None:
    """Write a model as a run directory; CheckpointError where one is already."""
    if (out / AUTOENCODER_FILE).exists():
        raise CheckpointError(f"{out / AUTOENCODER_FILE} exists: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / AUTOENCODER_FILE, weights_bytes(model.state_dict(), model.config))


def load_autoencoder(path: Path, trust: bool = False) -> Autoencoder:
    """The autoencoder of a run directory or a weights file, in eval mode, on the CPU.

    Without `trust` it builds no structure by a `module:function` that its file names.
    """
    file = autoencoder_file(path)
    model = Autoencoder(read_config(AutoencoderConfig, file))
    load_weights(model, file)
    model.is_trusted = trust or not model.config.names_code
    return model.eval()


def require_trusted(config: AutoencoderConfig, path: object, own: str | None = None) -> None:
    """CheckpointError for a file whose builder is a `module:function` other than the user's `own`.

    Importing it would run code that whoever made the file has chosen.
    """
    if config.names_code and config.builder != own:
        raise CheckpointError(
            f"{path} names code to run, the structure builder {config.builder!r}: add --trust, or "
            "name it as autoencoder.model.builder in your recipe, if you trust that code"
        )


def autoencoder_config(path: Path) -> AutoencoderConfig:
    """The shape of the autoencoder of a run directory or a weights file."""
    return read_config(AutoencoderConfig, autoencoder_file(path))


def autoencoder_file(path: Path) -> Path:
    """The weights file of a run directory, or the file itself. CheckpointError without one.

    A run of generators may have its tokenizer in it.
    """
    file = path / AUTOENCODER_FILE if path.is_dir() else path
    if path.is_dir() and not file.exists() and (path / INNER / AUTOENCODER_FILE).exists():
        return path / INNER / AUTOENCODER_FILE
    if path.is_dir() and not file.exists():
        raise CheckpointError(
            f"{path} holds no {AUTOENCODER_FILE}: finish the run with "
            "`nvgctl train autoencoder ... --resume`, or name a weights file"
        )
    return file
