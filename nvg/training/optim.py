"""Optimizer and learning-rate schedules (A.5)."""

import math
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from nvg.training.config import LoopConfig

EMA_WARMUP = 10  # EMA weights move fast in the first steps


def adamw(
    module: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; decay on matrices and filters only, not on tables (codebook, embeddings, learnt
    starts), biases and norms."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    # Checkpoints number the parameters in this order, which no rule of decay may change: those of
    # two and more dimensions, then the others.
    ordered = [p for p in parameters if p.ndim > 1] + [p for p in parameters if p.ndim <= 1]
    decayed = _matrices(module)
    groups = [
        {"params": list(run), "weight_decay": weight_decay if decays else 0.0}
        for decays, run in groupby(ordered, lambda p: id(p) in decayed)
    ]
    on_gpu = all(parameter.is_cuda for parameter in parameters)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=on_gpu)


def _matrices(module: nn.Module) -> set[int]:
    """Identities of the parameters that multiply a layer's input."""
    kinds = (nn.Linear, nn.modules.conv._ConvNd, ParametrizationList)
    return {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, kinds)
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim > 1
    }


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
    moved = [name for name, value in weights.items() if value.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in moved], [weights[n] for n in moved], 1 - decay)


def gradients(module: nn.Module) -> list[Tensor]:
    """The gradients that there are, in the order of the parameters."""
    return [p.grad for p in module.parameters() if p.grad is not None]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
