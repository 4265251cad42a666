"""Tokenizing: the encoder in every precision, structure, codes, and all of it on JPEGs.

Legend: B image of a batch, N position, C channel, T token, D row or column of pixels
or of the grid.
"""

import io
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nvg.backend import Backend
from nvg.choices import EncoderPrecision
from nvg.precision import encoder_numbers
from nvg.quantizer.codebook import start_codebook
from nvg.quantizer.config import CodebookInit
from nvg.quantizer.nearest import nearest_code
from nvg.structure import build_leaves
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels
from tests.gpu.materials import autoencoder_config
from tests.gpu.report import Report, Setting
from tests.gpu.timing import peak_gib, reset_peak, seconds
from tests.nvg.tokenizer.makers import tiny_autoencoder, write_autoencoder

BATCH, TINY_BATCH, JPEGS, TINY_JPEGS = 64, 4, 1024, 6
PHOTO = 400  # pixels of a JPEG's side
COMPILING = 20  # seconds that are worth beginning to compile for


@dataclass(frozen=True)
class Way:
    """How the encoder computes."""

    name: str
    precision: EncoderPrecision
    channels_last: bool = False
    least: float | None = None
    """Target, views a second."""


WAYS = (
    Way("float32", EncoderPrecision.FP32),
    Way("TF32", EncoderPrecision.TF32, least=900),
    Way("TF32, channels last", EncoderPrecision.TF32, channels_last=True),
    Way("bfloat16", EncoderPrecision.BF16, least=1800),
    Way("bfloat16, channels last", EncoderPrecision.BF16, channels_last=True),
)


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    model = tiny_autoencoder(0, autoencoder_config(setting)).to(setting.device)
    pixels = _pixels(model, TINY_BATCH if setting.tiny else BATCH).to(setting.device)
    with torch.no_grad():
        latents_BNC = _start(model, pixels)
        leaves_BN = build_leaves(latents_BNC)
        standard = latents_BNC, leaves_BN, model.quantizer.encode(latents_BNC, leaves_BN)
        for way in WAYS:
            _encode(setting, report, model, pixels, standard, way, way.name)
        _structure(setting, report, model, latents_BNC)
        _jpegs(setting, report)
        if not setting.is_cuda:
            report.note("compiled: only on CUDA")
        elif report.has_time(COMPILING, "compiled"):
            compiled = deepcopy(model)
            compiled.encoder.compile()
            for way in (WAYS[3], WAYS[1]):
                name = f"{way.name}, compiled"
                if report.has_time(COMPILING / 2, name):
                    _encode(setting, report, compiled, pixels, standard, way, name)


def _pixels(model: Autoencoder, count: int) -> Tensor:
    """Smooth images with some noise, uint8 [B, 3, D, D]."""
    generator, side = torch.Generator().manual_seed(0), model.config.image_size
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noise = 0.05 * torch.randn(smooth.shape, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).byte()


def _start(model: Autoencoder, pixels: Tensor) -> Tensor:
    """Latents in float32; the codebook becomes a sample of their residuals."""
    latents_BNC = model.latents(pixels)
    residuals = model.quantizer.residuals(latents_BNC, build_leaves(latents_BNC))
    size, generator = model.config.codebook_size, torch.Generator().manual_seed(0)
    codes = start_codebook(residuals, size, CodebookInit.SAMPLE, generator)
    model.quantizer.codebook.copy_(codes)
    return latents_BNC


def _encode(
    setting: Setting,
    report: Report,
    model: Autoencoder,
    pixels: Tensor,
    standard: tuple[Tensor, Tensor, Tensor],
    way: Way,
    name: str,
) -> None:
    """Views a second; which leaves and tokens are those of float32 (tokens: given its leaves)."""
    form = torch.channels_last if way.channels_last else torch.contiguous_format
    encoder = deepcopy(model.encoder).to(memory_format=form) if way.channels_last else model.encoder
    images = from_pixels(pixels).to(memory_format=form)
    reset_peak(setting.device)
    with encoder_numbers(way.precision, setting.device):
        taken = seconds(lambda: encoder(images), setting.device, rounds=3, warm=2, each=2)
        latents_BNC = encoder(images).float()
    least = None if setting.tiny else way.least
    report.figure(f"encoder, {name}", len(images) / taken, "views/s", at_least=least)
    report.figure(f"encoder, {name}, peak memory", peak_gib(setting.device), "GiB")
    expected_BNC, leaves_BN, token_BT = standard
    error = (latents_BNC - expected_BNC).norm() / expected_BNC.norm()
    report.figure(f"encoder, {name}, error of latents", float(error))
    same = (build_leaves(latents_BNC).long() == leaves_BN.long()).double().mean()
    report.figure(f"encoder, {name}, leaves as in float32", float(same))
    same = (model.quantizer.encode(latents_BNC, leaves_BN) == token_BT).double().mean()
    report.figure(f"encoder, {name}, tokens as in float32", float(same))


def _structure(setting: Setting, report: Report, model: Autoencoder, latents_BNC: Tensor) -> None:
    """Structure by backend, and codes: images a second."""
    own, codebook = model.config.geometry, model.quantizer.codebook
    on_cpu = latents_BNC.cpu()
    ways: dict[str, Callable[[], object]] = {
        "structure, torch on the device": lambda: build_leaves(latents_BNC, backend=Backend.TORCH),
        "structure, numba on the CPU": lambda: build_leaves(on_cpu, backend=Backend.NUMBA),
    }
    generator = torch.Generator().manual_seed(0)
    shape = (len(latents_BNC) * own.tokens, model.config.latent_dim)
    spread = codebook.std()
    vectors = spread * torch.randn(shape, generator=generator).to(codebook.device)
    ways["codes of all stages"] = lambda: nearest_code(vectors, codebook)
    for name, call in ways.items():
        taken = seconds(call, setting.device, rounds=3)
        report.figure(name, len(latents_BNC) / taken, "images/s")


def _jpegs(setting: Setting, report: Report) -> None:
    """A whole pass in one process over JPEGs of noise, to the finished store."""
    from pipeline.recipe import AutoencoderSection, TokenizeConfig
    from pipeline.tokenize.dataset import tokenize_dataset
    from tests.makers import tiny_recipe

    count, config = TINY_JPEGS if setting.tiny else JPEGS, autoencoder_config(setting)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_jpegs(folder / "images", count, 16 if setting.tiny else PHOTO)
        write_autoencoder(folder / "run", config=config)
        recipe = tiny_recipe(
            folder / "images",
            autoencoder=AutoencoderSection(model=config),
            tokenize=TokenizeConfig(chunk_rows=4 if setting.tiny else 256, batch_size=BATCH),
        )
        made = tokenize_dataset(recipe, folder / "run", str(folder / "a.vgs"))
        report.check("JPEGs: all are in the store", made.errors == 0, f"{made.errors} errors")
        rate = count / made.work.elapsed
        report.figure("JPEGs to tokens, one process, first batch included", rate, "images/s")


def _write_jpegs(folder: Path, count: int, side: int) -> None:
    from PIL import Image

    rng, few = np.random.default_rng(0), []
    folder.mkdir()
    for _ in range(min(count, 32)):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        data = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(data, "jpeg", quality=90)
        few.append(data.getvalue())
    for number in range(count):
        (folder / f"{number:06d}.jpg").write_bytes(few[number % len(few)])
