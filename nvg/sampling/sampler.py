"""Sampling (Alg. 2): stage by stage structure, then content, each drawn or given.

Legend: B image of a batch, N position, n cluster of a stage, C channel, V code.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.generator.variants import ContentInput
from nvg.geometry import bit_embedding, leaf_order
from nvg.progress import progress
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.control import Control
from nvg.sampling.guidance import Guidance, Noise, SamplerConfig, guidance_at, top_p_at
from nvg.sampling.structure import sample_structure
from nvg.sequence import Sequences


@torch.no_grad()
def sample(
    content: ContentGenerator,
    structure: StructureGenerator,
    quantizer: MultiGranularityQuantizer,
    label: Tensor,
    noise: Noise,
    config: SamplerConfig,
    control: Control | None = None,
) -> Sequences:
    """Algorithm 2 for a batch of class labels [B] (-1: no class); returns its token sequences.

    What `control` gives is taken instead of drawn.
    """
    geometry, K = quantizer.geometry, quantizer.geometry.K
    null = content.backbone.null_class
    label_B = torch.where(label < 0, null, label)
    structure_BN = label.new_zeros(len(label), geometry.positions)
    canvas_BNC = quantizer.empty_canvas(len(label))
    control = control or Control(structure_BN)
    tokens = []
    for stage in range(geometry.stages):
        given_BN = control.map(stage, K)
        if given_BN is not None:
            structure_BN = given_BN
        elif 0 < stage < K:
            guide = Guidance(label_B, null, guidance_at(stage, K, config.structure_guidance))
            structure_BN = sample_structure(
                structure,
                canvas_BNC,
                structure_BN,
                stage,
                guide,
                config.flow_steps,
                noise,
                config.solver,
                control.kept,
            )
        elif stage == K:  # the pairs are known: canonical order leaves nothing to draw
            structure_BN = leaf_order(structure_BN.argsort(dim=1, stable=True))
        guide = Guidance(label_B, null, guidance_at(stage, K, config.content_guidance))
        drawn_Bn = sample_content(content, canvas_BNC, structure_BN, stage, guide, config, noise)
        tokens.append(control.replace(drawn_Bn, structure_BN, stage, K))
        canvas_BNC = quantizer.add_stage(canvas_BNC, tokens[-1], structure_BN, stage)
    leaves = structure_BN.to(geometry.leaf_dtype)
    return Sequences(leaves, torch.cat(tokens, dim=1), label).check(geometry)


def sample_content(
    model: ContentGenerator,
    canvas_BNC: Tensor,
    structure_BN: Tensor,
    stage: int,
    guide: Guidance,
    config: SamplerConfig,
    noise: Noise,
) -> Tensor:
    """Tokens [B, 2^stage] of a stage: guided logits, temperature, top-k, then top-p."""

    def logits(canvas: Tensor, noised: Tensor, structure: Tensor, label: Tensor) -> Tensor:
        embedding = bit_embedding(structure, stage, model.geometry.K)
        predicted = model(noised, embedding, label, torch.full_like(label, stage))
        order = structure.argsort(dim=1, stable=True)
        return model.logits(model.logit_input(predicted, canvas, noised), order, stage).float()

    noised_BNC = canvas_BNC
    if model.content_input is not ContentInput.CANVAS:
        stage_B = torch.full_like(guide.label_B, stage)
        noised_BNC = model.noised_canvas(canvas_BNC, stage_B, noise.normal(*canvas_BNC.shape[1:]))
    logits_BnV = guide(logits, canvas_BNC, noised_BNC, structure_BN)
    logits_BnV = logits_BnV / config.temperature
    if 0 < config.top_k < logits_BnV.shape[-1]:
        least = logits_BnV.topk(config.top_k).values[..., -1:]
        logits_BnV = logits_BnV.masked_fill(logits_BnV < least, -torch.inf)
    nucleus = top_p_at(stage, model.geometry.K, config.top_p)
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
    control: Control | None = None,
) -> Sequences:
    """All sequences at once, see `sample_batches`."""
    return Sequences.join(
        list(
            sample_batches(content, structure, quantizer, labels, seed, config, batch_size, control)
        )
    )


def sample_batches(
    content: ContentGenerator,
    structure: StructureGenerator,
    quantizer: MultiGranularityQuantizer,
    labels: list[int],
    seed: int,
    config: SamplerConfig,
    batch_size: int = 64,
    control: Control | None = None,
) -> Iterator[Sequences]:
    """Sequences for many labels, batch by batch; image i depends on (seed, i) only."""
    device = quantizer.codebook.device
    with progress(total=len(labels), desc="sample", unit="image") as bar:
        for start in range(0, len(labels), batch_size):
            chosen = torch.tensor(labels[start : start + batch_size], device=device)
            stop = start + len(chosen)
            noise = Noise(seed, range(start, stop), device)
            part = control.part(start, stop) if control else None
            yield sample(content, structure, quantizer, chosen, noise, config, part)
            bar.update(len(chosen))
