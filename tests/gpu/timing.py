"""Time, memory and rates of a device."""

import gc
import statistics
import time
from collections.abc import Callable

import torch

MIB = 2**20

# Dense FLOP/s of bfloat16 products by name, from the vendors' data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "H800": 989e12, "A100": 312e12, "L40S": 362e12}


def settle(device: torch.device) -> None:
    """Wait until the device has done all it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(
    call: Callable[[], object], device: torch.device, rounds: int, warm: int = 1, each: int = 1
) -> float:
    """Median seconds of a call over the rounds, of `each` calls, after `warm` of them."""
    for _ in range(warm):
        call()
    taken = []
    for _ in range(rounds):
        settle(device)
        began = time.perf_counter()
        for _ in range(each):
            call()
        settle(device)
        taken.append((time.perf_counter() - began) / each)
    return statistics.median(taken)


def reset_peak(device: torch.device) -> None:
    """Forget the memory used so far; what is no longer used is let go."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float:
    """Most memory allocated since `reset_peak`, GiB; 0 on a CPU, where torch does not count."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def product_rate(
    device: torch.device, size: int, kind: torch.dtype, precision: str = "highest"
) -> float:
    """FLOP/s of a product of two size x size matrices; float32 ones at a precision of torch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
        return 2 * size**3 / seconds(lambda: left @ right, device, rounds=5, warm=2, each=3)
    finally:
        torch.set_float32_matmul_precision(before)


def nominal_peak(device: torch.device) -> float | None:
    """FLOP/s of the data sheet, where the device is known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for word, peak in PEAKS.items() if word in name), None)
