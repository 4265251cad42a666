"""Peak memory of `nvgctl tokenize` for many images against few: it must not grow with them."""

import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.nvg.tokenizer.makers import write_autoencoder

FEW, MANY = 1_000, 20_000
RECIPE = """
[data]
source = "parquet"
path = "{path}"
[autoencoder.model]
image_size = 8
base_channels = 8
multipliers = [1, 2]
blocks = 1
attention = false
latent_dim = 4
codebook_size = 16
[tokenize]
chunk_rows = 512
[generator.content]
depth = 1
width = 32
heads = 1
[generator.structure]
depth = 1
width = 32
heads = 1
"""


def write_images(path: Path, count: int) -> None:
    """`count` 32x32 images in Hugging Face image Parquet, 500 to a row group.

    CIFAR-10's where NVG_TEST_DATA names a folder that holds them, else noise.
    """
    real = sorted(Path(os.environ.get("NVG_TEST_DATA", "-")).glob("cifar10-train-*.parquet"))
    if real:
        pq.write_table(pq.read_table(real[0]).slice(0, count), path, row_group_size=500)
        return
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "png")
        images.append({"bytes": buffer.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array([0] * count)}
    pq.write_table(pa.table(columns), path, row_group_size=500)


def peak_mib(folder: Path, count: int, engine: str) -> float:
    """Largest sum of the private memory of all processes of one pass, in MiB."""
    data = folder / f"{count}.parquet"
    write_images(data, count)
    recipe = folder / f"{count}.toml"
    recipe.write_text(RECIPE.format(path=data))
    out = folder / f"{count}-{engine}.vgs"
    verb = ["tokenize", recipe, "--tokenizer", folder / "run", "--out", out, "--engine", engine]
    command = [sys.executable, "-m", "cli.app", *map(str, verb)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _tree_mib(psutil.Process(process.pid)))
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"memory: the pass over {count} images ended with {process.returncode}")
    return peak


def _tree_mib(root: psutil.Process) -> float:
    """Unique set size of a process and all below it; shared libraries and pages are not counted."""
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_full_info().uss
    except psutil.NoSuchProcess:
        pass
    return total / 2**20


def main() -> None:
    """Print the peak for few and many images, and the ratio, for each engine."""
    print(f"memory: peak of nvgctl tokenize, {MANY} images against {FEW}, all processes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_autoencoder(folder / "run")
        for engine in ("inline", "ray"):
            few, many = (peak_mib(folder, count, engine) for count in (FEW, MANY))
            print(f"  {engine:6}: {many:6.0f} MiB against {few:6.0f} MiB, ratio {many / few:.2f}")
