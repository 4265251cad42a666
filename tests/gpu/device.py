"""Versions and device; bandwidth of copies; what its matrix products reach."""

import importlib.metadata
import os
import platform
import subprocess

import torch

from tests.gpu.report import Report, Setting
from tests.gpu.timing import product_rate, seconds

PACKAGES = ("torch", "triton", "numpy", "numba", "zarr", "pyarrow", "timm", "einops", "safetensors")
COPY_BYTES = 2**30
PRODUCTS = {
    "bfloat16": (torch.bfloat16, "highest"),
    "TF32": (torch.float32, "high"),
    "float32": (torch.float32, "highest"),
}


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    _versions(setting, report)
    _copies(setting, report)
    size = 256 if setting.tiny else 8192
    for name, (kind, precision) in PRODUCTS.items():
        rate = product_rate(setting.device, size, kind, precision)
        report.figure(f"product of {size}^3, {name}", rate / 1e12, "TFLOP/s")


def _versions(setting: Setting, report: Report) -> None:
    report.figure("python", platform.python_version())
    for package in PACKAGES:
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        report.figure(package, found)
    report.figure("CPU cores", float(len(os.sched_getaffinity(0))))
    if not setting.is_cuda:
        report.note("no CUDA device")
        return
    about = torch.cuda.get_device_properties(setting.device)
    report.figure("device", about.name)
    report.figure("memory", about.total_memory / 2**30, "GiB")
    report.figure("multiprocessors", float(about.multi_processor_count))
    report.figure("CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}")
    report.figure("driver", _driver())


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit"]
    try:
        found = subprocess.run(
            [*query, "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (found.stdout.strip().splitlines() or ["unknown"])[0]


def _copies(setting: Setting, report: Report) -> None:
    """GB/s (10^9 bytes); on the device a copy reads and writes, so its bytes count twice."""
    count = 2**20 if setting.tiny else COPY_BYTES
    host = torch.empty(count, dtype=torch.uint8, pin_memory=setting.is_cuda)
    there, other = (torch.empty(count, dtype=torch.uint8, device=setting.device) for _ in range(2))
    ways = {
        "host to device, pinned": (1, lambda: there.copy_(host, non_blocking=True)),
        "device to host, pinned": (1, lambda: host.copy_(there, non_blocking=True)),
        "within the device": (2, lambda: other.copy_(there)),
    }
    for name, (times, call) in ways.items():
        taken = seconds(call, setting.device, rounds=5)
        report.figure(f"copy {name}", times * count / taken / 1e9, "GB/s")
