"""Sampling (Alg. 2): stage by stage structure, then content, each sampled or given.

Legend: B image of a batch, N position, n cluster of a stage, C channel, V code, K structure
channel, T token, E head channel.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.choices import ChildOrder, ContentInput, FlowNoise, LastSplit, ParentSplit
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import bit_embedding, leaf_order
from nvg.precision import Part, numbers
from nvg.progress import progress
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.config import (
    BATCH,
    SamplerConfig,
    guidance_at,
    structure_guidance_at,
    top_p_at,
)
from nvg.sampling.control import Control
from nvg.sampling.guidance import Draw, Guidance, Noise
from nvg.sampling.structure import (
    Flow,
    balanced_split,
    bit_probability,
    evaluations,
    sample_structure,
)
from nvg.sampling.top_p import sample_tokens
from nvg.sequence import Sequences


@dataclass(frozen=True)
class Sample:
    """A batch of sampled images before decoding."""

    sequences: Sequences
    canvas: Tensor
    """Final canvas [B, N, C], the one that the tokens rebuild."""


@dataclass(frozen=True)
class Stage:
    """A stage of a batch, once its tokens are added to the canvas."""

    stage: int
    structure: Tensor
    """Map [B, N], int64."""
    content: Tensor
    """Tokens [B, n]."""
    canvas: Tensor
    """[B, N, C]."""


def nothing() -> None:
    """What is done before a step, where nobody asks for more."""


def batch_ranges(count: int, batch_size: int) -> list[range]:
    """The numbers 0..count-1 in batches."""
    return [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


@dataclass(frozen=True)
class Sampler:
    """The two generators, the quantizer that adds their tokens up, and how to sample."""

    content: ContentGenerator
    structure: StructureGenerator
    quantizer: MultiGranularityQuantizer
    config: SamplerConfig
    child_order: ChildOrder = ChildOrder.POSITION
    """Of the tokenizer whose structures the generators were trained on."""

    def batches(
        self, labels: list[int], seed: int, control: Control | None = None, batch_size: int = BATCH
    ) -> Iterator[Sample]:
        """Samples for many labels, batch by batch; image i depends on (seed, i) only."""
        label_B = self.on_device(labels)
        with progress(total=len(labels), desc="sample", unit="image") as bar:
            for images in batch_ranges(len(labels), batch_size):
                yield self.batch(label_B, images, seed, control)
                bar.update(len(images))

    def on_device(self, labels: list[int]) -> Tensor:
        """Class ids [B] where the generators are."""
        ids = torch.tensor(labels, dtype=torch.int64)
        return ids.to(self.quantizer.codebook.device, non_blocking=True)

    def batch(
        self, label_B: Tensor, images: range, seed: int, control: Control | None = None
    ) -> Sample:
        """Some images of those that all labels [B] and `control` describe, at once."""
        return self.sample(*self._given(label_B, images, seed, control))

    def batch_stages(
        self,
        label_B: Tensor,
        images: range,
        seed: int,
        control: Control | None = None,
        before_step: Callable[[], None] = nothing,
    ) -> Iterator[Stage]:
        """The stages of such a batch, each as soon as it is sampled."""
        return self.stages(*self._given(label_B, images, seed, control), before_step)

    def sample(self, label: Tensor, noise: Noise, control: Control | None = None) -> Sample:
        """Algorithm 2 for a batch of class labels [B] (-1: no class).

        What `control` gives is taken as it is; the rest is sampled.
        """
        return self.joined(label, self.stages(label, noise, control))

    def joined(self, label: Tensor, stages: Iterable[Stage]) -> Sample:
        """The batch that all its stages make; its class labels are [B]."""
        tokens = []
        for made in stages:
            tokens.append(made.content)
            last = made
        geometry = self.quantizer.geometry
        leaves, content = last.structure.to(geometry.leaf_dtype), torch.cat(tokens, dim=1)
        return Sample(Sequences(leaves, content, label).check(geometry), last.canvas)

    def stages(
        self,
        label: Tensor,
        noise: Noise,
        control: Control | None = None,
        before_step: Callable[[], None] = nothing,
    ) -> Iterator[Stage]:
        """Algorithm 2, stage by stage, as `sample` joins them.

        `before_step` is called before every evaluation of a network, `Sampler.steps` times; what
        it raises ends the sampling there.
        """
        geometry, K = self.quantizer.geometry, self.quantizer.geometry.K
        label_B = torch.where(label < 0, self.content.backbone.null_class, label)
        control = control or Control(label.new_zeros(len(label), geometry.positions))
        start_BNK = None  # of the flow of every stage
        if self.config.flow_noise is FlowNoise.SHARED:
            start_BNK = noise.normal(geometry.positions, K)
        flow = Flow(self.structure, noise, self.config, control.known, start_BNK, before_step)
        structure_BN = label.new_zeros(len(label), geometry.positions)
        canvas_BNC = self.quantizer.empty_canvas(len(label))
        for stage in range(geometry.stages):
            # Around each stage alone: whoever takes one computes outside, in numbers of their own.
            with torch.no_grad(), numbers(Part.BLOCKS, label.device):
                structure_BN = self._structure(
                    stage, canvas_BNC, structure_BN, label_B, control, flow
                )
                before_step()
                sampled_Bn = self._content(canvas_BNC, structure_BN, stage, label_B, noise)
                tokens_Bn = control.tokens(sampled_Bn, structure_BN, stage, K)
                leaves_BN, code_BnC = structure_BN << (K - stage), self.quantizer.codes(tokens_Bn)
                canvas_BNC = self.quantizer.add_stage(canvas_BNC, code_BnC, leaves_BN, stage)
            yield Stage(stage, structure_BN, tokens_Bn, canvas_BNC)

    def steps(self, control: Control | None = None) -> list[int]:
        """How often the networks are evaluated in each stage."""
        geometry, flow = self.quantizer.geometry, evaluations(self.config)
        given = control.structure_stages if control else 0
        is_flow = [max(given, 1) <= stage < geometry.K for stage in range(geometry.stages)]
        return [1 + flow * each for each in is_flow]

    def _given(
        self, label_B: Tensor, images: range, seed: int, control: Control | None
    ) -> tuple[Tensor, Noise, Control | None]:
        """Labels, noise and control of some images."""
        part = control.part(images.start, images.stop).to(label_B.device) if control else None
        noise = Noise(seed, images, label_B.device, self._draws(part))
        return label_B[images.start : images.stop], noise, part

    def _structure(
        self,
        stage: int,
        canvas_BNC: Tensor,
        structure_BN: Tensor,
        label_B: Tensor,
        control: Control,
        flow: Flow,
    ) -> Tensor:
        """The map [B, N] of a stage, given or sampled, from that of the stage before."""
        K = self.quantizer.geometry.K
        given_BN = control.structure_map(stage, K)
        if given_BN is not None:
            return given_BN
        if stage == K:
            return self._last_split(structure_BN, flow.start_BNK, control)
        if stage == 0:
            return structure_BN
        guide = self._guidance(label_B, structure_guidance_at(stage, K, self.config))
        in_order = self.child_order is ChildOrder.POSITION
        return sample_structure(flow, canvas_BNC, structure_BN, stage, guide, in_order)

    def _last_split(
        self, structure_BN: Tensor, start_BNK: Tensor | None, control: Control
    ) -> Tensor:
        """Leaves [B, N] from the map of stage K - 1: the pairs are known, their order is a rule.

        By noise, positions whose path is given keep their own bit.
        """
        if self.config.last_split is LastSplit.NOISE and start_BNK is not None:
            K = self.quantizer.geometry.K
            score_BN = bit_probability(self.structure, start_BNK[..., K - 1])
            bits_BN = None
            if known := control.known:
                bits_BN = (known.leaves_BN & 1).where(known.mask_BN, -1)
            return balanced_split(score_BN, structure_BN, K - 1, bits_BN, in_order=False)
        return leaf_order(structure_BN.argsort(dim=1, stable=True))

    def _guidance(self, label_B: Tensor, scale: float) -> Guidance:
        return Guidance(label_B, self.content.backbone.null_class, scale)

    def _content(
        self, canvas_BNC: Tensor, structure_BN: Tensor, stage: int, label_B: Tensor, noise: Noise
    ) -> Tensor:
        """Tokens [B, n] of a stage: guided logits, temperature, top-k, then top-p."""
        model, config, K = self.content, self.config, self.quantizer.geometry.K
        noised_BNC = canvas_BNC
        if model.variant.content_input is not ContentInput.CANVAS:
            stage_B = torch.full_like(label_B, stage)
            normal_BNC = noise.normal(*canvas_BNC.shape[1:])
            noised_BNC = model.noised_canvas(canvas_BNC, stage_B, normal_BNC)
        guide = self._guidance(label_B, guidance_at(stage, K, config.content_guidance))
        embedding_BNK = bit_embedding(structure_BN, stage, K)
        cos_BTE, sin_BTE = (guide.both(part) for part in model.angles_of(embedding_BNK))
        order_BN = structure_BN.argsort(dim=1, stable=True)
        canvas, noised, embedding, order = (
            guide.both(part) for part in (canvas_BNC, noised_BNC, embedding_BNK, order_BN)
        )
        label, angles = guide.labels, (cos_BTE, sin_BTE)
        predicted = model(noised, embedding, label, torch.full_like(label, stage), angles=angles)
        logits = model.logits(model.logit_input(predicted, canvas, noised), order, stage)
        logits_BnV = guide.mix(logits.float()) / config.temperature
        p = top_p_at(stage, K, config.top_p, config.top_p_curve)
        return sample_tokens(logits_BnV, config.top_k, p, noise.uniform(logits_BnV.shape[1]))

    def _draws(self, control: Control | None) -> list[Draw]:
        """All that `sample` asks of the noise, in its order."""
        geometry, config = self.quantizer.geometry, self.config
        flow = Draw(torch.randn, (geometry.positions, geometry.K))
        is_shared = config.flow_noise is FlowNoise.SHARED
        draws = [flow] if is_shared else []
        for stage in range(geometry.stages):
            is_given = control is not None and stage < control.structure_stages
            if 0 < stage < geometry.K and not is_given:
                draws += [] if is_shared else [flow]
                if config.split is not ParentSplit.TOP_HALF:
                    draws.append(Draw(torch.rand, (geometry.positions,)))
            if self.content.variant.content_input is not ContentInput.CANVAS:
                channels = self.quantizer.codebook.shape[1]
                draws.append(Draw(torch.randn, (geometry.positions, channels)))
            draws.append(Draw(torch.rand, (geometry.clusters(stage),)))
        return draws
