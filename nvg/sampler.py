"""Sampling (Alg. 2): structure by flow and Gumbel-top-k halving, content by top-p, stage by stage.

Legend: B image, N position, n cluster, C latent channel, V codeword, K structure channel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.content import ContentGenerator
from nvg.geometry import bit_embedding, leaf_order
from nvg.progress import progress
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
from nvg.structure_flow import StructureGenerator, inpaint
from nvg.switches import ContentInput
from nvg.training import step_seed

LEAST_PROBABILITY = 1e-12  # its log is out of reach of Gumbel noise: clear bits always win


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Schedules over the stages; the defaults are the paper's."""

    content_guidance: float = 3.5
    """Classifier-free guidance of the content at the last stage; 1 at the first, linear between."""
    structure_guidance: float = 2.5
    """The same for the structure."""
    top_p: float = 0.5
    """Nucleus at the last stage; 1 at the first, falling with the logarithm of the stage."""
    flow_steps: int = 25
    """Euler steps per structure stage."""

    def __post_init__(self) -> None:
        if self.content_guidance < 0 or self.structure_guidance < 0:
            raise ValueError("guidance must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.flow_steps < 1:
            raise ValueError(f"flow_steps must be at least 1, not {self.flow_steps}")


def guidance_at(stage: int, K: int, last: float) -> float:
    """CFG scale of a stage: linear from 1 to `last` (A.5)."""
    return 1.0 + (last - 1.0) * stage / K


def top_p_at(stage: int, K: int, last: float) -> float:
    """Nucleus of a stage: 1 at stage 0, `last` at K, logarithmic between (our reading of A.5)."""
    return 1.0 - (1.0 - last) * math.log1p(stage) / math.log1p(K)


class Noise:
    """Random numbers that belong to each image: independent of the batch it is drawn in."""

    def __init__(self, seed: int, indices: range, where: torch.device) -> None:
        self.where = where
        self.generators = [torch.Generator().manual_seed(step_seed(seed, i)) for i in indices]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal [B, *shape]."""
        parts = [torch.randn(shape, generator=g) for g in self.generators]
        return torch.stack(parts).to(self.where)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1) [B, *shape]."""
        parts = [torch.rand(shape, generator=g) for g in self.generators]
        return torch.stack(parts).to(self.where)


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance for a batch of class ids."""

    label_B: Tensor
    null_class: int
    scale: float

    def __call__(self, predict: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """predict(*inputs, label), guided: uncond + scale (cond - uncond).

        Both in one batch; no unconditional pass where the scale is 1.
        """
        if self.scale == 1.0:
            return predict(*inputs, self.label_B)
        null_B = torch.full_like(self.label_B, self.null_class)
        doubled = [torch.cat((part, part)) for part in inputs]
        conditional, unconditional = predict(*doubled, torch.cat((self.label_B, null_B))).chunk(2)
        return unconditional + self.scale * (conditional - unconditional)


@torch.no_grad()
def sample(
    content: ContentGenerator,
    structure: StructureGenerator,
    quantizer: MultiGranularityQuantizer,
    label: Tensor,
    noise: Noise,
    config: SamplerConfig,
) -> Sequences:
    """Algorithm 2 for a batch of class labels [B] (-1: no class); returns its token sequences."""
    geometry, K = quantizer.geometry, quantizer.geometry.K
    null = content.backbone.null_class
    label_B = torch.where(label < 0, null, label)
    structure_BN = label.new_zeros(len(label), geometry.positions)
    canvas_BNC = quantizer.empty_canvas(len(label))
    tokens = []
    for stage in range(geometry.stages):
        if 0 < stage < K:
            scale = guidance_at(stage, K, config.structure_guidance)
            guide = Guidance(label_B, null, scale)
            structure_BN = draw_structure(
                structure, canvas_BNC, structure_BN, stage, guide, config.flow_steps, noise
            )
        elif stage == K:  # the pairs are known: canonical order leaves nothing to draw
            structure_BN = leaf_order(structure_BN.argsort(dim=1, stable=True))
        guide = Guidance(label_B, null, guidance_at(stage, K, config.content_guidance))
        nucleus = top_p_at(stage, K, config.top_p)
        tokens.append(draw_content(content, canvas_BNC, structure_BN, stage, guide, nucleus, noise))
        canvas_BNC = quantizer.paint(canvas_BNC, tokens[-1], structure_BN, stage)
    leaves = structure_BN.to(geometry.leaf_dtype)
    return Sequences(leaves, torch.cat(tokens, dim=1), label).check(geometry)


def draw_structure(
    model: StructureGenerator,
    canvas_BNC: Tensor,
    parent_BN: Tensor,
    stage: int,
    guide: Guidance,
    steps: int,
    noise: Noise,
) -> Tensor:
    """Structure map of `stage` from its parent's: Euler steps with inpainting (Eq. 1, 2)."""
    K = model.geometry.K
    parent_BNK = bit_embedding(parent_BN, stage - 1, K)
    stage_B = torch.full_like(guide.label_B, stage)

    def velocity(z: Tensor, time: Tensor, canvas: Tensor, *rest: Tensor) -> Tensor:
        parent, stages, label = rest
        return model(z, time, canvas, parent, label, stages)

    z_BNK = noise.normal(model.geometry.positions, K)
    for n in range(steps):
        z_BNK = inpaint(z_BNK, parent_BNK.float(), stage_B, model.start)
        time_B = torch.full(stage_B.shape, 1 - n / steps, device=stage_B.device)
        z_BNK = z_BNK - guide(velocity, z_BNK, time_B, canvas_BNC, parent_BNK, stage_B) / steps
    uniform_BN = noise.uniform(model.geometry.positions)
    return halve(z_BNK[..., stage - 1], parent_BN, stage - 1, uniform_BN)


def halve(value_BN: Tensor, parent_BN: Tensor, parent_stage: int, uniform_BN: Tensor) -> Tensor:
    """Split every parent into equal halves: Gumbel-top-k on the channel read as probabilities.

    `value` is the new channel (0 and 2 are the bits). The half that holds a parent's smallest
    position becomes child 2j (canonical order).
    """
    log_p = (value_BN / 2).clamp(LEAST_PROBABILITY, 1).log()
    gumbel = -(-uniform_BN.clamp(min=1e-20).log()).log()
    order_BN = parent_BN.argsort(dim=1, stable=True)  # parents in runs, positions ascending in each
    score = (log_p + gumbel).gather(1, order_BN).unflatten(1, (1 << parent_stage, -1))
    half = score.shape[-1] // 2
    bit = torch.zeros_like(score, dtype=torch.int64).scatter_(-1, score.topk(half).indices, 1)
    bit = bit ^ bit[..., :1]
    bit_BN = torch.empty_like(parent_BN).scatter_(1, order_BN, bit.flatten(1))
    return 2 * parent_BN + bit_BN


def draw_content(
    model: ContentGenerator,
    canvas_BNC: Tensor,
    structure_BN: Tensor,
    stage: int,
    guide: Guidance,
    nucleus: float,
    noise: Noise,
) -> Tensor:
    """Tokens [B, 2^stage] of a stage: guided logits, then top-p."""

    def logits(canvas: Tensor, seen: Tensor, structure: Tensor, label: Tensor) -> Tensor:
        embedding = bit_embedding(structure, stage, model.geometry.K)
        predicted = model(seen, embedding, label, torch.full_like(label, stage))
        order = structure.argsort(dim=1, stable=True)
        return model.logits(model.evidence(predicted, canvas, seen), order, stage).float()

    seen_BNC = canvas_BNC
    if model.noise is not ContentInput.CANVAS:
        drawn = noise.normal(*canvas_BNC.shape[1:])
        seen_BNC = model.noised(canvas_BNC, drawn, torch.full_like(guide.label_B, stage))
    logits_BnV = guide(logits, canvas_BNC, seen_BNC, structure_BN)
    return top_p(logits_BnV, nucleus, noise.uniform(logits_BnV.shape[1]))


def top_p(logits_BnV: Tensor, nucleus: float, uniform_Bn: Tensor) -> Tensor:
    """Draw from the smallest set of tokens whose probability reaches `nucleus`. [B, n] int64.

    By inverse CDF at `uniform`, so the draw depends on the image's own numbers only.
    """
    sorted_p, token = logits_BnV.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = sorted_p.cumsum(-1) - sorted_p
    kept = torch.where(before < nucleus, sorted_p, 0.0)
    cdf = kept.cumsum(-1)
    target = uniform_Bn.unsqueeze(-1) * cdf[..., -1:]
    pick = (cdf <= target).sum(-1, keepdim=True).clamp(max=logits_BnV.shape[-1] - 1)
    return token.gather(-1, pick).squeeze(-1)


def sample_images(
    content: ContentGenerator,
    structure: StructureGenerator,
    quantizer: MultiGranularityQuantizer,
    labels: list[int],
    seed: int,
    config: SamplerConfig,
    batch_size: int = 64,
) -> Sequences:
    """Sequences for many labels, in batches; image i depends on (seed, i) only."""
    where = quantizer.codebook.device
    parts = []
    with progress(total=len(labels), desc="sample", unit="image") as bar:
        for start in range(0, len(labels), batch_size):
            chosen = torch.tensor(labels[start : start + batch_size], device=where)
            noise = Noise(seed, range(start, start + len(chosen)), where)
            parts.append(sample(content, structure, quantizer, chosen, noise, config))
            bar.update(len(chosen))
    joined = [torch.cat([p.leaves.long() for p in parts]).to(quantizer.geometry.leaf_dtype)]
    joined += [torch.cat([p.content for p in parts]), torch.cat([p.label for p in parts])]
    return Sequences(*joined)
