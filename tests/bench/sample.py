"""Cost of generation at the paper's sizes (Table 4): parameters, seconds and memory of an image.

Random weights: cost does not depend on them. Content alone is given the structure; the whole draws
it, by 25 Euler steps and by 4. Decoding is included. With VAR_CHECKOUT naming a checkout of VAR's
code, VAR of the same depth is the baseline, with random weights too.
"""

import importlib
import os
import resource
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch

from nvg.distributed import default_device
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.config import SamplerConfig
from nvg.sampling.control import Control
from nvg.sampling.sampler import Sampler
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.config import AutoencoderConfig
from pipeline.recipe.presets import PRESETS
from tests.bench.measure import machine

DEPTHS_ON_CPU, DEPTHS = (16,), (16, 20, 24)
CLASSES, BATCH_ON_GPU = 1000, 16
ROUNDS_ON_CPU, ROUNDS = 1, 5


def main() -> None:
    """Print a row for each size and way."""
    device = default_device()
    is_gpu = device.type == "cuda"
    batch, rounds = (BATCH_ON_GPU, ROUNDS) if is_gpu else (1, ROUNDS_ON_CPU)
    print(f"sample: 256x256, batch {batch}, guided; {machine()}")
    print("  model                          parameters (M)  seconds an image  of VAR  peak MiB")
    detokenizer = Detokenizer(AutoencoderConfig()).to(device).eval()
    for depth in DEPTHS if is_gpu else DEPTHS_ON_CPU:
        baseline = var_sampler(depth, batch, device)
        first = None
        if baseline:
            size, call = baseline
            first = _row(f"VAR-d{depth}", size, call, batch, rounds, None)
        for name, size, call in _ours(depth, detokenizer, batch, device):
            _row(name, size, call, batch, rounds, first)


def _ours(
    depth: int, detokenizer: Detokenizer, batch: int, device: torch.device
) -> list[tuple[str, float, Callable[[], object]]]:
    """NVG of a depth: content alone, the whole with 25 steps, with 4."""
    content, structure = (
        build_generator(
            part,
            GeneratorShape(
                transformer=TransformerConfig(**PRESETS[f"d{depth}"][part.value]),
                grid=16,
                classes=CLASSES,
                codebook_size=4096,
                latent_dim=32,
                latent_scale=1.0,
            ),
        )
        .to(device)
        .eval()
        for part in GeneratorKind
    )
    quantizer = detokenizer.quantizer
    assert isinstance(quantizer, MultiGranularityQuantizer)
    given = Control(torch.arange(256, device=device).expand(batch, -1), structure_stages=9)

    def call(steps: int, control: Control | None) -> Callable[[], object]:
        config = SamplerConfig(flow_steps=steps)
        sampler = Sampler(content, structure, quantizer, config)  # type: ignore[arg-type]

        def run() -> object:
            (made,) = sampler.batches([0] * batch, 0, control)
            return detokenizer.render(made.canvas)

        return run

    sizes = [sum(p.numel() for p in model.parameters()) / 1e6 for model in (content, structure)]
    return [
        (f"NVG-d{depth}, content alone", sizes[0], call(25, given)),
        (f"NVG-d{depth}, 4 steps", sum(sizes), call(4, None)),
        (f"NVG-d{depth}, 25 steps", sum(sizes), call(25, None)),
    ]


def var_sampler(
    depth: int, batch: int, device: torch.device
) -> tuple[float, Callable[[], object]] | None:
    """VAR of a depth out of a checkout, or nothing."""
    checkout = os.environ.get("VAR_CHECKOUT")
    if not checkout:
        return None
    sys.path.insert(0, checkout)
    package = types.ModuleType("models")
    package.__path__ = [str(Path(checkout) / "models")]
    sys.modules.setdefault("models", package)
    vae = importlib.import_module("models.vqvae").VQVAE(ch=160, test_mode=True).to(device)
    made = importlib.import_module("models.var").VAR(
        vae_local=vae,
        depth=depth,
        embed_dim=64 * depth,
        num_heads=depth,
        norm_eps=1e-6,
        attn_l2_norm=True,
        patch_nums=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
        num_classes=CLASSES,
    )
    model = made.to(device).eval()
    size = sum(p.numel() for p in model.parameters()) / 1e6
    label = torch.zeros(batch, dtype=torch.int64, device=device)

    def run() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return model.autoregressive_infer_cfg(
                B=batch, label_B=label, cfg=1.5, top_k=900, top_p=0.95, g_seed=0
            )

    return size, run


def _row(
    name: str,
    size: float,
    call: Callable[[], object],
    batch: int,
    rounds: int,
    baseline: float | None,
) -> float:
    """Time, print, and return the seconds of an image."""
    is_gpu = torch.cuda.is_available()
    call() if is_gpu else None
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        if is_gpu:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    seconds = sorted(taken)[len(taken) // 2] / batch
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if is_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    )
    share = f"{seconds / baseline:6.2f}" if baseline else "      "
    print(f"  {name:30} {size:14.0f}  {seconds:16.3f}  {share}  {peak:8.0f}", flush=True)
    return seconds
