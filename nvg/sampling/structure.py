"""Structure of a stage (Sec. 2.2.1): the flow with inpainting, then exact halves.

Legend: B image of a batch, N position, K structure channel, C channel, T token, E head channel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.choices import ParentSplit
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import bit_embedding
from nvg.sampling.config import SamplerConfig, Solver, flow_steps
from nvg.sampling.guidance import Guidance, Noise

LEAST_PROBABILITY = 1e-12  # no Gumbel noise makes up for its log: clear bits always win
FIRST_SCORE = -1e9  # of a parent's first position: child 2j holds it, unless that is full

Velocity = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class KnownPaths:
    """Positions whose path through the hierarchy is given."""

    mask_BN: Tensor
    leaves_BN: Tensor


@dataclass(frozen=True)
class Flow:
    """What the flow of every stage of a batch shares."""

    model: StructureGenerator
    noise: Noise
    config: SamplerConfig
    known: KnownPaths | None = None
    start_BNK: Tensor | None = None
    """Where it starts; None: from noise of its own at every stage."""
    before_step: Callable[[], None] | None = None
    """Called before every evaluation of the network."""


def sample_structure(
    flow: Flow,
    canvas_BNC: Tensor,
    parent_BN: Tensor,
    stage: int,
    guide: Guidance,
    in_order: bool = True,
) -> Tensor:
    """Structure map of `stage` from its parent's: the flow with inpainting (Eq. 1, 2), then halves.

    Known positions follow their own path: the flow sees it, and the halves respect it. `in_order`
    as in `balanced_split`.
    """
    model, noise, config, known = flow.model, flow.noise, flow.config, flow.known
    K, positions = model.geometry.K, model.geometry.positions
    parent_BNK = bit_embedding(parent_BN, stage - 1, K)
    stage_B = torch.full_like(guide.label_B, stage)
    noise_BNK = noise.normal(positions, K) if flow.start_BNK is None else flow.start_BNK
    # What is the same at every step of the flow.
    known_BNK = model.values(parent_BNK)
    given = (guide.both(canvas_BNC), guide.both(parent_BNK), guide.labels, guide.both(stage_B))
    cos_BTE, sin_BTE = (guide.both(part) for part in model.angles_of(parent_BNK))

    def velocity(z_BNK: Tensor, time: float) -> Tensor:
        if flow.before_step:
            flow.before_step()
        z_BNK = model.inpaint(z_BNK, known_BNK, stage_B)
        if known:
            clean_BNK = model.values(bit_embedding(known.leaves_BN, K, K))
            path_BNK = time * noise_BNK + (1 - time) * clean_BNK
            mixed_BNK = torch.where(known.mask_BN.unsqueeze(-1), path_BNK, z_BNK)
            z_BNK = model.inpaint(mixed_BNK, known_BNK, stage_B)
        time_B = torch.full(given[-1].shape, time, device=stage_B.device)
        return guide.mix(model(guide.both(z_BNK), time_B, *given, angles=(cos_BTE, sin_BTE)))

    steps = flow_steps(config.flow_steps, positions, config.time_grid)
    z_BNK = integrate(velocity, noise_BNK, steps, config.solver)
    score_BN = split_scores(bit_probability(model, z_BNK[..., stage - 1]), config.split, noise)
    bits_BN = None
    if known:
        bits_BN = (known.leaves_BN >> (K - stage) & 1).where(known.mask_BN, -1)
    return balanced_split(score_BN, parent_BN, stage - 1, bits_BN, in_order)


def evaluations(config: SamplerConfig) -> int:
    """How often `integrate` evaluates the velocity in one stage."""
    return config.flow_steps * (1 if config.solver is Solver.EULER else 2)


def integrate(
    velocity: Velocity, z: Tensor, steps: list[tuple[float, float]], solver: Solver
) -> Tensor:
    """From noise at time 1 to data at time 0 in steps of (time, size)."""
    for time, size in steps:
        slope = velocity(z, time)
        if solver is Solver.MIDPOINT:
            slope = velocity(z - 0.5 * size * slope, time - 0.5 * size)
        elif solver is Solver.HEUN:
            slope = 0.5 * (slope + velocity(z - size * slope, max(time - size, 0.0)))
        z = z - size * slope
    return z


def bit_probability(model: StructureGenerator, value_BN: Tensor) -> Tensor:
    """A channel's value read as the probability of bit 1: 0 and 1 at the two bits, clipped."""
    low, high = model.bits
    return ((value_BN - low) / (high - low)).clamp(0, 1)


def split_scores(probability_BN: Tensor, split: ParentSplit, noise: Noise) -> Tensor:
    """Scores whose larger half of a parent's gets bit 1, of probabilities [B, N] of that bit."""
    if split is ParentSplit.TOP_HALF:
        return probability_BN
    weight_BN = probability_BN.clamp(LEAST_PROBABILITY, 1)
    if split is ParentSplit.GUMBEL_ODDS:
        weight_BN = weight_BN / (1 - probability_BN).clamp(LEAST_PROBABILITY, 1)
    uniform_BN = noise.uniform(probability_BN.shape[1])
    return weight_BN.log() - (-uniform_BN.clamp(min=1e-20).log()).log()


def balanced_split(
    score_BN: Tensor,
    parent_BN: Tensor,
    parent_stage: int,
    bits_BN: Tensor | None = None,
    in_order: bool = True,
) -> Tensor:
    """Split every parent into equal halves: bit 1 for the larger half of its scores [B, N].

    With `in_order` the half that holds a parent's smallest position becomes child 2j (canonical
    order), else the bits stay as they are. Where `bits` are 0 or 1 they are given (-1: not); a
    parent that holds such positions keeps their order of children.
    """
    order_BN = parent_BN.argsort(dim=1, stable=True)  # parents in runs, positions ascending in each
    score = score_BN.gather(1, order_BN).unflatten(1, (1 << parent_stage, -1))
    half = score.shape[-1] // 2
    given = None
    if bits_BN is not None:
        given = bits_BN.gather(1, order_BN).unflatten(1, (1 << parent_stage, -1))
        if in_order:
            score[..., 0] = torch.where((given >= 0).any(-1), FIRST_SCORE, score[..., 0])
        score = score.masked_fill(given == 1, torch.inf).masked_fill(given == 0, -torch.inf)
    # Scores clipped to equal ones are told apart as topk does, which the release leaves it to: so
    # its samples can be repeated on a CPU.
    bit = torch.zeros_like(score, dtype=torch.int64).scatter_(-1, score.topk(half).indices, 1)
    if in_order:
        swap = bit[..., :1]
        if given is not None:
            swap = swap * (given < 0).all(-1, keepdim=True)
        bit = bit ^ swap
    bit_BN = torch.empty_like(parent_BN).scatter_(1, order_BN, bit.flatten(1))
    return 2 * parent_BN + bit_BN
