"""Codes and canvases of the device against those of the CPU, under every precision torch offers.

Legend: B image of a batch, N position, C channel, M vector of a flat list, V code.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg.backend import Backend
from nvg.quantizer.nearest import nearest_code
from nvg.structure import build_leaves
from tests.gpu.materials import batch_of, quantizer_of, random_store, small
from tests.gpu.report import Report, Setting

VECTORS, TINY_VECTORS = 20_000, 200
CANVAS_ERROR = 1e-5  # float32 sums in another order, relative; TF32 is off by a thousandth
IMAGES, TINY_IMAGES = 64, 4


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    _codes(setting, report)
    for grid in (4, 8) if setting.tiny else (16, 32):  # leaves of 32x32 are uint16
        with tempfile.TemporaryDirectory() as folder:
            _canvases(setting, report, grid, Path(folder))


@contextmanager
def precision(name: str) -> Iterator[None]:
    """torch's switch of float32 products, and that of cuDNN's convolutions, for a while."""
    before: Any = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(name)
    torch.backends.cudnn.allow_tf32 = name != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def vectors(count: int, channels: int, codes: int) -> tuple[Tensor, Tensor]:
    """Vectors [M, C] and a codebook [V, C] that holds codes twice; half of the vectors are ties.

    Those lie on a code that is there twice, or half-way between two codes.
    """
    generator = torch.Generator().manual_seed(0)
    codebook_VC = torch.randn(codes, channels, generator=generator).mul(16).round() / 16
    codebook_VC[codes // 2 :] = codebook_VC[: codes - codes // 2]
    vector_MC = torch.randn(count, channels, generator=generator)
    pick_2M = torch.randint(codes, (2, count // 4), generator=generator)
    vector_MC[: count // 4] = codebook_VC[pick_2M[0]]
    between_MC = (codebook_VC[pick_2M[0]] + codebook_VC[pick_2M[1]]) / 2
    vector_MC[count // 4 : 2 * (count // 4)] = between_MC
    return vector_MC, codebook_VC


def _codes(setting: Setting, report: Report) -> None:
    """The nearest code is exact, lowest index on ties, whatever torch's switches say."""
    count = TINY_VECTORS if setting.tiny else VECTORS
    sizes = small(setting.tiny)
    vector_MC, codebook_VC = vectors(count, sizes.latent_dim, 64 if setting.tiny else 4096)
    expected_M = nearest_code(vector_MC, codebook_VC, Backend.NUMBA)
    there = vector_MC.to(setting.device), codebook_VC.to(setting.device)
    for name in ("highest", "high"):
        with precision(name):
            found_M = nearest_code(*there, Backend.TORCH).cpu()
        wrong = int((found_M != expected_M).sum())
        report.check(f'codes, precision "{name}"', wrong == 0, f"{wrong} of {count} differ")


def _canvases(setting: Setting, report: Report, grid: int, folder: Path) -> None:
    """Canvases from tokens, and tokens of latents, with TF32 forbidden and allowed."""
    count, device = TINY_IMAGES if setting.tiny else IMAGES, setting.device
    store = random_store(folder, small(setting.tiny, grid), count)
    batch, quantizer = batch_of(store, count), quantizer_of(store)
    channels = quantizer.codebook.shape[1]
    latents_BNC = torch.randn(
        count, grid * grid, channels, generator=torch.Generator().manual_seed(1)
    )
    leaves_BN = build_leaves(latents_BNC)
    expected = quantizer.canvases(batch.content, batch.leaves)[-1].detach()
    expected_tokens = quantizer.encode(latents_BNC, leaves_BN)
    quantizer = quantizer.to(device)
    content, leaves = batch.content.to(device), batch.leaves.to(device)
    for name in ("highest", "high"):
        with precision(name), torch.no_grad():
            found = quantizer.canvases(content, leaves)[-1].cpu()
            tokens = quantizer.encode(latents_BNC.to(device), leaves_BN.to(device)).cpu()
        error = float((found - expected).abs().max() / expected.abs().max())
        report.within(f'canvas of {grid}x{grid}, precision "{name}"', error, CANVAS_ERROR)
        # The residual of a later stage is a sum in another order: a few codes are as near.
        differing = float((tokens != expected_tokens).double().mean())
        kind = str(leaves_BN.dtype)[6:]
        report.within(f'tokens of {grid}x{grid}, {kind} leaves, "{name}", share that differs',
                      differing, 1e-3)  # fmt: skip
