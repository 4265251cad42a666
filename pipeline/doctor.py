"""What `nvgctl doctor` finds: the machine, the libraries, a place to write, a recipe's weights."""

import importlib.metadata
import os
import platform
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nvg import __version__
from nvg.config import as_table
from nvg.distributed import process_variables
from nvg.errors import InputError
from nvg.files import fault_of_weights
from nvg.loader.preload import free_bytes
from pipeline.recipe import Recipe

Found = dict[str, dict[str, str]]
"""Section -> name -> what was found."""

LIBRARIES = (
    *("torch", "numpy", "numba", "zarr", "pyarrow", "pillow", "ray", "faiss-cpu", "faiss-gpu"),
    *("fsspec", "s3fs", "huggingface-hub", "timm", "torch-fidelity", "matplotlib", "tensorboard"),
)
CODECS = ("jpg", "jpg_2000", "webp", "avif", "zlib", "libtiff", "littlecms2")
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR"),
    *("RAY_ADDRESS", "XDG_CACHE_HOME", "NVG_EXTRA"),
)
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")  # of weights in a recipe
WRITTEN = 64 << 20  # bytes of the file that measures a disk
NONE = "not installed"


def examine(recipe: Recipe | None, path: Path) -> Found:
    """All sections; InputError where `path` is no folder that can be written to."""
    found = {
        "nvg": {"version": __version__, "python": platform.python_version()},
        "machine": _machine(),
        "devices": dict(_devices()),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "faiss": _faiss(),
        "image formats": _codecs(),
        "write speed": {str(path): _write_speed(path)},
        "environment": _environment(),
    }
    if recipe:
        found["weights files"] = dict(_weights(as_table(recipe))) or {"": "the recipe names none"}
    return found


def lines(found: Found) -> list[str]:
    """One screen."""
    said = []
    for title, section in found.items():
        width = max(map(len, section))
        said += [title] + [f"  {name:<{width}}  {value}" for name, value in section.items()]
    return said


def _machine() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": f"{cores} of {os.cpu_count()}",
        "threads of torch": str(torch.get_num_threads()),
        "free memory": _gib(free_bytes()),
    }


def _devices() -> Iterator[tuple[str, str]]:
    yield "cuda of torch", str(torch.version.cuda or "built without")
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        capability = f"compute capability {facts.major}.{facts.minor}"
        yield f"cuda:{number}", f"{facts.name}, {_gib(facts.total_memory)}, {capability}"
    if not torch.cuda.is_available():
        yield "gpu", "none; the CPU computes"


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return NONE


def _faiss() -> dict[str, str]:
    try:
        import faiss
    except ImportError as error:
        return {"build": f"{NONE} ({error})"}
    on_gpu = hasattr(faiss, "StandardGpuResources")
    return {"build": "for GPUs" if on_gpu else "for CPUs", "options": faiss.get_compile_options()}


def _codecs() -> dict[str, str]:
    from PIL import features

    known = set(features.get_supported())
    return {name: "yes" if name in known else "no" for name in CODECS}


def _write_speed(folder: Path) -> str:
    """Of one file, written through to the disk, then removed."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one that is there with --path")
    file, block = folder / f"nvgctl-doctor-{uuid.uuid4().hex}.tmp", os.urandom(1 << 20)
    began = time.perf_counter()
    try:
        with file.open("wb") as place:
            for _ in range(WRITTEN >> 20):
                place.write(block)
            place.flush()
            os.fsync(place.fileno())
    except OSError as error:
        return f"cannot be written to: {error.strerror or error}"
    finally:
        file.unlink(missing_ok=True)
    return f"{(WRITTEN >> 20) / (time.perf_counter() - began):.0f} MiB/s"


def _environment() -> dict[str, str]:
    given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return given | process_variables() or {"": "nothing that matters is set"}


def _weights(table: dict[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Every file of weights that a recipe names, and whether it is one."""
    for key, value in table.items():
        name = f"{where}.{key}".lstrip(".")
        if isinstance(value, dict):
            yield from _weights(value, name)
        elif isinstance(value, str) and value.endswith(SUFFIXES):
            file = Path(value)
            fault = fault_of_weights(file) if file.is_file() else "missing"
            yield name, f"{value}: {fault or _gib(file.stat().st_size)}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
