"""The smallest tokenizers, untrained."""

from pathlib import Path

import torch

from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.weights import weights_bytes


def tiny_model(grid: int = 4, codebook_size: int = 16, latent_dim: int = 4) -> AutoencoderConfig:
    """The smallest tokenizer that has every part: 8x8 images, a 4x4 grid, 31 tokens."""
    return AutoencoderConfig(
        image_size=2 * grid,
        base_channels=8,
        multipliers=(1, 2),
        blocks=1,
        attention=False,
        latent_dim=latent_dim,
        codebook_size=codebook_size,
    )


def tiny_autoencoder(seed: int = 0, config: AutoencoderConfig | None = None) -> Autoencoder:
    """An untrained autoencoder in eval mode, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(config or tiny_model()).eval()


def write_autoencoder(
    path: Path, seed: int = 0, config: AutoencoderConfig | None = None
) -> Autoencoder:
    """Save an untrained autoencoder as the run directory `path`; returns the model."""
    model = tiny_autoencoder(seed, config)
    path.mkdir(parents=True, exist_ok=True)
    data = weights_bytes(model.state_dict(), model.config)
    (path / "autoencoder.safetensors").write_bytes(data)
    return model


def picture() -> torch.Tensor:
    """A smooth image [1, 3, 256, 256]."""
    y = torch.linspace(-1, 1, 256)
    planes = (
        torch.sin(3 * y)[:, None] * torch.cos(5 * y)[None],
        y[:, None] * y[None],
        torch.cos(2 * y)[:, None].expand(256, 256),
    )
    return torch.stack(planes)[None]
