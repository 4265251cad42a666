"""Structure generator (Sec. 2.2.1, A.4): rectified flow over the bit embedding, by inpainting.

Legend: B image of a batch, N position, C channel, K structure channel, W width, F feature
channel.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.choices import (
    CanvasCondition,
    FlowLoss,
    FlowNoise,
    FlowTime,
    StructureInput,
    StructureValues,
)
from nvg.generator.backbone import CANVAS, STRUCTURE, Backbone
from nvg.generator.config import GeneratorShape, canvas_unit
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.rope import Rotation
from nvg.geometry import Geometry, mixed_bit_embedding


class StructureGenerator(Generator):
    """Velocity of the bit embedding at time t, given class, canvas and the known channels."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.geometry, self.variant = Geometry(shape.grid), shape.variant
        self.unit = canvas_unit(shape)
        K, channels, width = self.geometry.K, shape.latent_dim, shape.transformer.width
        self.has_canvas_tokens = self.variant.canvas_condition is CanvasCondition.TOKENS
        self.backbone = Backbone(
            shape.transformer,
            self.geometry,
            shape.classes,
            K if self.has_canvas_tokens else K + channels,
            K,
            self.variant.token_kinds,
        )
        self.time = nn.Sequential(
            nn.Linear(self.variant.time_frequencies, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )
        if self.has_canvas_tokens:
            self.canvas = nn.Linear(channels, width)

    def forward(
        self,
        noisy_BNK: Tensor,
        time_B: Tensor,
        canvas_BNC: Tensor,
        parent_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        angles: Rotation | None = None,
    ) -> Tensor:
        """v-prediction [B, N, K] for stage i; parent is the bit embedding of s_{i-1}."""
        rest = (canvas_BNC, parent_BNK, label_B, stage_B)
        return self.predict(noisy_BNK, time_B, *rest, angles=angles)[0]

    def predict(
        self,
        noisy_BNK: Tensor,
        time_B: Tensor,
        canvas_BNC: Tensor,
        parent_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        intermediate_block: int = 0,
        angles: Rotation | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same, and the backbone's tokens after block `intermediate_block` [B, N, W].

        `angles` are those of `angles_of` for this parent, where they are known already.
        """
        angles = self.angles_of(parent_BNK) if angles is None else angles
        condition = self.backbone.condition(label_B, stage_B)
        condition = condition + self.time(time_features(time_B, self.variant.time_frequencies))
        canvas_BNC = canvas_BNC / self.unit
        if self.has_canvas_tokens:
            values, context = noisy_BNK, self.canvas(canvas_BNC)
        else:
            values, context = torch.cat((noisy_BNK, canvas_BNC), dim=-1), None
        velocity_BNK, intermediate_BNW = self.backbone(
            values, label_B, condition, angles, intermediate_block, context
        )
        return velocity_BNK, intermediate_BNW

    def angles_of(self, parent_BNK: Tensor) -> Rotation:
        """How the tokens are turned that the bit embedding of s_{i-1} describes."""
        kinds = (CANVAS, STRUCTURE) if self.has_canvas_tokens else (STRUCTURE,)
        return self.backbone.angles_of(parent_BNK, *kinds)

    def values(self, embedding_BNK: Tensor) -> Tensor:
        """A bit embedding (Eq. 6) in the numbers that the flow uses, float."""
        return embedding_BNK.float() - self._shift

    @property
    def bits(self) -> tuple[float, float]:
        """The numbers that stand for bit 0 and bit 1."""
        return 0 - self._shift, 2 - self._shift

    @property
    def _shift(self) -> float:
        return float(self.variant.structure_values is StructureValues.CENTRED)

    def known(self, stage_B: Tensor) -> Tensor:
        """Whether stage i starts from a channel's true value [B, K]; see `known_channels`."""
        return known_channels(stage_B, self.geometry.K, self.variant.structure_input)

    def inpaint(self, noisy_BNK: Tensor, known_BNK: Tensor, stage_B: Tensor) -> Tensor:
        """Eq. 1: channels of the stages before i keep their true value, the rest stay noisy."""
        return torch.where(self.known(stage_B).unsqueeze(1), known_BNK, noisy_BNK)

    def draw_noise(self, canvas_BNC: Tensor, images: int | None = None) -> tuple[Tensor, ...]:
        """N(0, 1) noise [B, N, K] and a flow time in [0, 1) [B]."""
        batch, positions, _ = canvas_BNC.shape
        is_shared = self.variant.flow_noise is FlowNoise.SHARED
        drawn = images if images and is_shared else batch
        noise_BNK = torch.randn(drawn, positions, self.geometry.K)
        noise_BNK = noise_BNK.repeat_interleave(batch // drawn, 0)
        is_normal = self.variant.flow_time is FlowTime.LOGIT_NORMAL
        time_B = torch.randn(batch).sigmoid() if is_normal else torch.rand(batch)
        return noise_BNK.to(canvas_BNC.device), time_B.to(canvas_BNC.device)

    def loss(
        self, example: TrainingExample, intermediate_block: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Flow matching at stage i, 1 <= i < K, on the channels that the variant names."""
        K, leaves_BN = self.geometry.K, example.batch.leaves
        stage_B = example.stage.to(leaves_BN.device)
        noise_BNK, time_B = example.noise
        clean_BNK = self.values(mixed_bit_embedding(leaves_BN, torch.full_like(stage_B, K), K))
        parent_BNK = mixed_bit_embedding(leaves_BN, stage_B - 1, K)
        time_B11 = time_B.view(-1, 1, 1)
        mixed_BNK = time_B11 * noise_BNK + (1 - time_B11) * clean_BNK
        velocity_BNK, intermediate_BNW = self.predict(
            self.inpaint(mixed_BNK, clean_BNK, stage_B),
            time_B,
            example.canvas,
            parent_BNK,
            example.label,
            stage_B,
            intermediate_block,
        )
        target_BNK = noise_BNK - clean_BNK
        counted_BK = ~self.known(stage_B)
        if self.variant.flow_loss is FlowLoss.ALL:
            target_BNK = target_BNK * counted_BK.unsqueeze(1)
            counted_BK = torch.ones_like(counted_BK)
        error_BK = F.mse_loss(velocity_BNK, target_BNK, reduction="none").mean(1)
        weight_BK = counted_BK.float().expand_as(error_BK)
        return {"flow": (error_BK * weight_BK).sum() / weight_BK.sum()}, intermediate_BNW


def time_features(time_B: Tensor, count: int) -> Tensor:
    """Sinusoidal features [B, count] of 1000 t, as in FLUX."""
    half = count // 2
    frequency_F = torch.exp(
        -math.log(10000.0) * torch.arange(half, device=time_B.device, dtype=torch.float32) / half
    )
    angle_BF = 1000.0 * time_B.float().unsqueeze(1) * frequency_F
    return torch.cat((angle_BF.cos(), angle_BF.sin()), dim=1)


def known_channels(
    stage_B: Tensor, channels: int, start: StructureInput = StructureInput.PARTIAL
) -> Tensor:
    """Whether stage i starts from a channel's true value, [B, K]: those of the stages before."""
    known_B = torch.zeros_like(stage_B) if start is StructureInput.NOISE else stage_B - 1
    return torch.arange(channels, device=stage_B.device) < known_B.unsqueeze(1)
