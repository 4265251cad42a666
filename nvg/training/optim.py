"""Optimizer and learning-rate schedules (A.5)."""

import math

import torch
from torch import Tensor, nn

from nvg.training.config import LoopConfig

EMA_WARMUP = 10  # EMA weights move fast in the first steps


def adamw(
    module: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; decay on matrices and filters only, not on biases, norms, embeddings' 1-D parts."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    on_gpu = all(parameter.is_cuda for parameter in parameters)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=on_gpu)


def optimizer_of(module: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    """AdamW for a module, with the settings of a training."""
    return adamw(module, config.lr, (config.betas[0], config.betas[1]), config.weight_decay)


def wsd(
    step: int,
    steps: int,
    warmup: int,
    decay_start: float,
    first: float = 0.0,
    final: float = 0.1,
) -> float:
    """Warmup-stable-decay factor at `step` of `steps`: linear up, constant, linear to `final`.

    The decay begins at the fraction `decay_start` of the steps (paper: 0.8; d24: 200/350). Warm-up
    ends its first step at 1/warmup, or starts at `first` if that is given.
    """
    if step < warmup:
        return first + (1 - first) * step / warmup if first else (step + 1) / warmup
    start = decay_start * steps
    if step < start:
        return 1.0
    return 1.0 - (1.0 - final) * (step - start) / max(steps - start, 1)


def cosine(step: int, steps: int, warmup: int, every: int = 1, begin: int = 0) -> float:
    """Linear warm-up from `begin`, then a half cosine from 1 to 0 at `steps`.

    The cosine moves at the multiples of `every` only, wherever it begins.
    """
    if step - begin < warmup:
        return (step - begin + 1) / warmup
    start = begin + warmup
    held = max(step // every * every, start)
    return 0.5 * (1 + math.cos(math.pi * (held - start) / max(steps - start, 1)))


@torch.no_grad()
def ema_update(
    ema: dict[str, Tensor],
    weights: dict[str, Tensor],
    step: int,
    decay: float,
    warmup: bool = True,
) -> None:
    """Move EMA weights towards the weights of a step; with `warmup` quickly in the first steps."""
    if warmup:
        decay = min(decay, (1 + step) / (EMA_WARMUP + step))
    for name, value in weights.items():
        if value.is_floating_point():
            ema[name].lerp_(value, 1 - decay)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
