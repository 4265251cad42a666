"""What `tokenize.precision` changes: leaves, tokens and PSNR against fp32, on real photos.

NVG_TOKENIZER names the run of a trained tokenizer, NVG_TEST_DATA the folder of `imagenet300`. Where
there is no GPU, TF32 is emulated: what its products and convolutions are given is rounded.

Legend: B image of a batch, N position, T token, D row or column of pixels or of the grid.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nvg.choices import EncoderPrecision
from nvg.distributed import default_device
from nvg.metrics.reconstruction import psnr
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels, load_autoencoder
from pipeline.images.blocks import RowImages
from pipeline.sources import FolderSource
from tests.bench.measure import machine

TOKENIZER, MOST = "NVG_TOKENIZER", 300
ROUNDED = (F.conv2d, F.linear, F.scaled_dot_product_attention, torch.matmul)
HALF, KEPT = 1 << 12, -1 << 13  # of the 23 bits of a float32's fraction TF32 has the upper 10


@dataclass(frozen=True)
class Change:
    """How the tokens of some photos differ from those in fp32; shares are in 0..1."""

    photos: float
    """With other leaves."""
    leaves: float
    """Positions that have another leaf."""
    tokens: float
    same_leaves: float
    """Tokens that differ where structure is that of fp32."""
    psnr: float
    """dB, of images decoded from the tokens."""


def main() -> None:
    """Print the table."""
    print(f"precision: {machine()}")
    photos = Path(os.environ.get("NVG_TEST_DATA", "-"), "imagenet300")
    if not photos.is_dir() or TOKENIZER not in os.environ:
        print(f"  needs {TOKENIZER}, and NVG_TEST_DATA with imagenet300")
        return
    model = load_autoencoder(Path(os.environ[TOKENIZER])).to(default_device())
    pixels = _pixels(photos, model)
    fp32 = model.tokenize(pixels)[:2]
    print(f"  fp32: PSNR {_psnr(model, pixels, *fp32):.3f} dB of {len(pixels)} photos")
    print("| precision | photos | leaves | tokens | tokens, leaves of fp32 | PSNR (dB) |")
    print("|---|---|---|---|---|---|")
    is_emulated = pixels.device.type != "cuda"
    for precision in (EncoderPrecision.TF32, EncoderPrecision.BF16):
        emulates = is_emulated and precision is EncoderPrecision.TF32
        found = change(model, pixels, fp32, precision, emulates)
        shares = (found.photos, found.leaves, found.tokens, found.same_leaves)
        name = f"{precision.value}{', emulated' if emulates else ''}"
        shown = " | ".join(f"{100 * share:.2f} %" for share in shares)
        print(f"| {name} | {shown} | {found.psnr:.3f} |", flush=True)


def _pixels(photos: Path, model: Autoencoder) -> Tensor:
    """Photos of the model's size, uint8 [B, 3, D, D]."""
    source = FolderSource(photos)
    images = RowImages(source, source.rows[:MOST], model.config.image_size)
    return images.batch(np.arange(len(images))).tensors(default_device())[0]


@torch.no_grad()
def change(
    model: Autoencoder,
    pixels: Tensor,
    fp32: tuple[Tensor, Tensor],
    precision: EncoderPrecision,
    emulates: bool = False,
) -> Change:
    """Another precision against the leaves [B, N] and content [B, T] of fp32."""
    with emulated_tf32(emulates):
        latents_BNC = model.latents(pixels, precision)
    leaves_BN = model.leaves(latents_BNC)
    token_BT = model.quantizer.encode(latents_BNC, leaves_BN)
    others = leaves_BN.long() != fp32[0].long()
    alike_BT = model.quantizer.encode(latents_BNC, fp32[0])
    return Change(
        photos=float(others.any(1).double().mean()),
        leaves=float(others.double().mean()),
        tokens=float((token_BT != fp32[1]).double().mean()),
        same_leaves=float((alike_BT != fp32[1]).double().mean()),
        psnr=_psnr(model, pixels, leaves_BN, token_BT),
    )


def _psnr(model: Autoencoder, pixels: Tensor, leaves_BN: Tensor, token_BT: Tensor) -> float:
    rebuilt = from_pixels(model.decode(token_BT, leaves_BN))
    return psnr(float((rebuilt - from_pixels(pixels)).square().mean()))


@contextmanager
def emulated_tf32(emulates: bool) -> Iterator[None]:
    """What torch computes in here is as in TF32, if it is asked for."""
    if not emulates:
        yield
        return
    with _Tf32():
        yield


class _Tf32(TorchFunctionMode):
    """Rounds the operands of products and convolutions; they are added up in float32, as in TF32.

    Inside attention the weights of the mean are not rounded. Biases are none of the operands.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ROUNDED:
            args = [as_tf32(a) if isinstance(a, Tensor) and a.ndim > 1 else a for a in args]
        return func(*args, **(kwargs or {}))


def as_tf32(values: Tensor) -> Tensor:
    """float32 rounded to TF32's 10 bits of fraction, halves away from zero."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + HALF) & KEPT).view(torch.float32)
