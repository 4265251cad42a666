"""Structure of a stage (Sec. 2.2.1): the flow with inpainting, then exact halves by Gumbel-top-k.

Legend: B image of a batch, N position, K structure channel, C channel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.generator.structure_flow import StructureGenerator, inpaint
from nvg.geometry import bit_embedding
from nvg.sampling.config import SamplerConfig, Solver
from nvg.sampling.guidance import Guidance, Noise

LEAST_PROBABILITY = 1e-12  # no Gumbel noise makes up for its log: clear bits always win
FIRST_SCORE = -1e9  # of a parent's first position: child 2j holds it, unless that is full

Velocity = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class KnownPaths:
    """Positions whose path through the hierarchy is given."""

    mask_BN: Tensor
    leaves_BN: Tensor


def sample_structure(
    model: StructureGenerator,
    canvas_BNC: Tensor,
    parent_BN: Tensor,
    stage: int,
    guide: Guidance,
    noise: Noise,
    config: SamplerConfig,
    known: KnownPaths | None = None,
) -> Tensor:
    """Structure map of `stage` from its parent's: the flow with inpainting (Eq. 1, 2), then halves.

    Known positions follow their own path: the flow sees it, and the halves respect it.
    """
    K = model.geometry.K
    parent_BNK = bit_embedding(parent_BN, stage - 1, K)
    stage_B = torch.full_like(guide.label_B, stage)
    noise_BNK = noise.normal(model.geometry.positions, K)

    def predict(z: Tensor, time: Tensor, canvas: Tensor, *rest: Tensor) -> Tensor:
        parent, stages, label = rest
        return model(z, time, canvas, parent, label, stages)

    def velocity(z_BNK: Tensor, time: float) -> Tensor:
        z_BNK = inpaint(z_BNK, parent_BNK.float(), stage_B, model.start)
        if known:
            clean_BNK = bit_embedding(known.leaves_BN, K, K).float()
            path_BNK = time * noise_BNK + (1 - time) * clean_BNK
            mixed_BNK = torch.where(known.mask_BN.unsqueeze(-1), path_BNK, z_BNK)
            z_BNK = inpaint(mixed_BNK, parent_BNK.float(), stage_B, model.start)
        time_B = torch.full(stage_B.shape, time, device=stage_B.device)
        return guide(predict, z_BNK, time_B, canvas_BNC, parent_BNK, stage_B)

    z_BNK = integrate(velocity, noise_BNK, config.flow_steps, config.solver)
    uniform_BN = noise.uniform(model.geometry.positions)
    bits_BN = None
    if known:
        bits_BN = (known.leaves_BN >> (K - stage) & 1).where(known.mask_BN, -1)
    return balanced_split(z_BNK[..., stage - 1], parent_BN, stage - 1, uniform_BN, bits_BN)


def integrate(velocity: Velocity, z: Tensor, steps: int, solver: Solver) -> Tensor:
    """From noise at time 1 to data at time 0 in equal steps."""
    size = 1 / steps
    for n in range(steps):
        time = 1 - n * size
        slope = velocity(z, time)
        if solver is Solver.MIDPOINT:
            slope = velocity(z - 0.5 * size * slope, time - 0.5 * size)
        elif solver is Solver.HEUN:
            slope = 0.5 * (slope + velocity(z - size * slope, max(time - size, 0.0)))
        z = z - size * slope
    return z


def balanced_split(
    value_BN: Tensor,
    parent_BN: Tensor,
    parent_stage: int,
    uniform_BN: Tensor,
    bits_BN: Tensor | None = None,
) -> Tensor:
    """Split every parent into equal halves: Gumbel-top-k on the channel read as probabilities.

    `value` is the new channel (0 and 2 are the bits). The half that holds a parent's smallest
    position becomes child 2j (canonical order). Where `bits` are 0 or 1 they are given (-1: not);
    a parent that holds such positions keeps their order of children.
    """
    log_p = (value_BN / 2).clamp(LEAST_PROBABILITY, 1).log()
    gumbel = -(-uniform_BN.clamp(min=1e-20).log()).log()
    order_BN = parent_BN.argsort(dim=1, stable=True)  # parents in runs, positions ascending in each
    score = (log_p + gumbel).gather(1, order_BN).unflatten(1, (1 << parent_stage, -1))
    half = score.shape[-1] // 2
    given = None
    if bits_BN is not None:
        given = bits_BN.gather(1, order_BN).unflatten(1, (1 << parent_stage, -1))
        score[..., 0] = torch.where((given >= 0).any(-1), FIRST_SCORE, score[..., 0])
        score = score.masked_fill(given == 1, torch.inf).masked_fill(given == 0, -torch.inf)
    bit = torch.zeros_like(score, dtype=torch.int64).scatter_(-1, score.topk(half).indices, 1)
    swap = bit[..., :1]
    if given is not None:
        swap = swap * (given < 0).all(-1, keepdim=True)
    bit = bit ^ swap
    bit_BN = torch.empty_like(parent_BN).scatter_(1, order_BN, bit.flatten(1))
    return 2 * parent_BN + bit_BN
