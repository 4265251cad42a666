"""The offline pass against the loop that only encodes, and decoding against plain Pillow.

Steady rates: a pass is timed from the moment when every worker has committed its first chunk.
"""

import io
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from pipeline.images.blocks import decode_rows
from pipeline.images.crops import Crops
from pipeline.images.recipe_images import open_images
from pipeline.recipe import AutoencoderSection, Recipe, TokenizeConfig
from pipeline.tokenize.chunk import ChunkDecoder
from pipeline.tokenize.engine import Engine, run_chunks
from pipeline.tokenize.manifest import make_manifest, prepare_store
from pipeline.tokenize.plan import plan_chunks, plan_rows
from pipeline.tokenize.ray_steps import Steps
from tests.bench.measure import interleaved, machine
from tests.makers import smooth_image, tiny_recipe
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.images.makers import image_bytes
from tests.pipeline.sources.makers import Listed

ROUNDS = 3
DECODED = 60


@dataclass(frozen=True)
class Case:
    """A size of the encoder, and how much of it is run."""

    model: AutoencoderConfig
    side: int
    images: int
    chunk_rows: int
    batch: int


CASES = {
    "paper-sized encoder, 256 px": Case(AutoencoderConfig(), 400, 24, 2, 2),
    "small encoder, 32 px": Case(
        AutoencoderConfig(image_size=32, base_channels=32, multipliers=(1, 2, 2), blocks=1),
        32,
        12_000,
        250,
        125,
    ),
}


def main() -> None:
    """Print images per second of every way, and each as a share of encoding alone."""
    print(f"tokenize: {machine()}")
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            rates = _rates(case, Path(folder))
        shown = ", ".join(
            f"{way} {rate:.2f} ({rate / rates['encode only']:.2f})" for way, rate in rates.items()
        )
        print(f"  {name}, images/s (share of encoding alone): {shown}", flush=True)
    _report_decoding()


def _rates(case: Case, folder: Path) -> dict[str, float]:
    """Median images per second of each way over the rounds, taken in turn."""
    recipe = _write(case, folder)
    pixels = torch.randint(0, 256, (case.batch, 3, case.model.image_size, case.model.image_size))
    model = load_autoencoder(folder / "run")
    batches = max(1, case.images // case.batch // 2)

    def encode_only() -> float:
        began = time.perf_counter()
        for _ in range(batches):
            model.tokenize(pixels.byte())
        return batches * case.batch / (time.perf_counter() - began)

    model.tokenize(pixels.byte())
    found: dict[str, list[float]] = {"encode only": [], "inline": [], "ray": []}
    for number in range(ROUNDS):
        found["encode only"].append(encode_only())
        for engine in (Engine.INLINE, Engine.RAY):
            out = str(folder / f"{number}-{engine.value}.vgs")
            found[engine.value].append(_steady(recipe, folder / "run", out, engine))
    return {way: float(np.median(rates)) for way, rates in found.items()}


def _write(case: Case, folder: Path) -> Recipe:
    """A folder of JPEGs, an untrained encoder, and the recipe over both."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    few = [image_bytes(smooth_image(rng, case.side), "jpeg", quality=90) for _ in range(50)]
    for number in range(case.images):
        (folder / "images" / f"{number:06d}.jpg").write_bytes(few[number % len(few)])
    write_autoencoder(folder / "run", config=case.model)
    tokenize = TokenizeConfig(chunk_rows=case.chunk_rows, batch_size=case.batch)
    section = AutoencoderSection(model=case.model)
    return tiny_recipe(folder / "images", autoencoder=section, tokenize=tokenize)


def _steady(recipe: Recipe, tokenizer: Path, out: str, engine: Engine) -> float:
    """Images per second of a pass once it is under way."""
    images, model = open_images(recipe), load_autoencoder(tokenizer)
    plan = plan_rows(recipe.data.heldout, images.source)
    prepare_store(out, make_manifest(recipe, images, model, plan), model, resume=False)
    decode = ChunkDecoder(images, plan.classes)
    chunks = plan_chunks(plan.rows, recipe.tokenize.chunk_rows)
    steps = Steps(decode, tokenizer, recipe.tokenize, out, chunks)
    _, counted = run_chunks(steps, range(len(chunks)), engine, None)
    done = [(time.perf_counter(), int(counts["rows"].sum())) for counts in counted]
    skipped = 1 if engine is Engine.INLINE else os.cpu_count() or 1
    count = sum(rows for _, rows in done[skipped:])
    return count / (done[-1][0] - done[skipped - 1][0])


def _report_decoding() -> None:
    """Images per second of one core: our rows against plain Pillow, for large photos and small."""
    real = sorted(Path(os.environ.get("NVG_TEST_DATA", "-"), "imagenet300").rglob("*.JPEG"))
    files = [path.read_bytes() for path in real[:DECODED]]
    if not files:
        rng = np.random.default_rng(0)
        files = [image_bytes(smooth_image(rng, 450), "jpeg", quality=90) for _ in range(DECODED)]
    source = Listed(*files)
    for size in (256, 64):
        crops = Crops(size)
        seconds = interleaved(
            {
                "rows": lambda crops=crops: decode_rows(source, source.rows, crops),  # type: ignore[misc]
                "plain": lambda size=size: [_plain(data, size) for data in files],  # type: ignore[misc]
            },
            5,
        )
        ours, plain = (len(files) / seconds[way] for way in ("rows", "plain"))
        kind = "photos" if real else "synthetic photos"
        print(
            f"  decode and crop {kind} to {size} px on one core: {ours:.0f} images/s, "
            f"plain Pillow {plain:.0f}, ratio {ours / plain:.2f}"
        )


def _plain(data: bytes, size: int) -> np.ndarray:  # type: ignore[type-arg]
    """What a data loader usually does: open, RGB, resize the short side, crop the middle."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))
