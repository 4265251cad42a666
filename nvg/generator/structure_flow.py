"""Structure generator (Sec. 2.2.1, A.4): rectified flow over the bit embedding, by inpainting.

Legend: B image of a batch, N position, C channel, K structure channel, W width, F feature
channel.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.generator.backbone import STRUCTURE_KIND, Backbone
from nvg.generator.config import TransformerConfig
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.variants import StructureInput
from nvg.geometry import Geometry, mixed_bit_embedding

TIME_FREQUENCIES = 256


class StructureGenerator(Generator):
    """Velocity of the bit embedding at time t, given class, canvas and the known channels."""

    def __init__(
        self,
        config: TransformerConfig,
        geometry: Geometry,
        classes: int,
        latent_dim: int,
        latent_scale: float,
        start: StructureInput = StructureInput.PARTIAL,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.latent_scale = latent_scale
        self.start = start
        inputs = geometry.K + latent_dim
        self.backbone = Backbone(config, geometry, classes, inputs, geometry.K)
        self.time = nn.Sequential(
            nn.Linear(TIME_FREQUENCIES, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )

    def forward(
        self,
        noisy_BNK: Tensor,
        time_B: Tensor,
        canvas_BNC: Tensor,
        parent_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
    ) -> Tensor:
        """v-prediction [B, N, K] for stage i; parent is the bit embedding of s_{i-1}."""
        return self.predict(noisy_BNK, time_B, canvas_BNC, parent_BNK, label_B, stage_B)[0]

    def predict(
        self,
        noisy_BNK: Tensor,
        time_B: Tensor,
        canvas_BNC: Tensor,
        parent_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        intermediate_block: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """The same, and the backbone's tokens after block `intermediate_block` [B, N, W]."""
        ids = self.backbone.token_ids(parent_BNK, STRUCTURE_KIND)
        condition = self.backbone.condition(label_B, stage_B) + self.time(time_features(time_B))
        values = torch.cat((noisy_BNK, canvas_BNC / self.latent_scale), dim=-1)
        velocity_BNK, intermediate_BNW = self.backbone(
            values, label_B, condition, ids, intermediate_block
        )
        return velocity_BNK, intermediate_BNW

    def draw_noise(self, canvas_BNC: Tensor) -> tuple[Tensor, ...]:
        """N(0, 1) noise [B, N, K] and a flow time in [0, 1) [B]."""
        batch, positions, _ = canvas_BNC.shape
        noise_BNK = torch.randn(batch, positions, self.geometry.K)
        return noise_BNK.to(canvas_BNC.device), torch.rand(batch).to(canvas_BNC.device)

    def loss(
        self, example: TrainingExample, intermediate_block: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Flow matching on the channels that are unknown at stage i, 1 <= i < K."""
        K, leaves_BN = self.geometry.K, example.batch.leaves
        stage_B = example.stage.to(leaves_BN.device)
        noise_BNK, time_B = example.noise
        clean_BNK = mixed_bit_embedding(leaves_BN, torch.full_like(stage_B, K), K).float()
        parent_BNK = mixed_bit_embedding(leaves_BN, stage_B - 1, K)
        time_B11 = time_B.view(-1, 1, 1)
        mixed_BNK = time_B11 * noise_BNK + (1 - time_B11) * clean_BNK
        velocity_BNK, intermediate_BNW = self.predict(
            inpaint(mixed_BNK, clean_BNK, stage_B, self.start),
            time_B,
            example.canvas,
            parent_BNK,
            example.label,
            stage_B,
            intermediate_block,
        )
        error_BNK = F.mse_loss(velocity_BNK, noise_BNK - clean_BNK, reduction="none")
        error_BK = error_BNK.mean(1)
        is_unknown_BK = (~known_channels(stage_B, K, self.start)).float().expand_as(error_BK)
        flow = (error_BK * is_unknown_BK).sum() / is_unknown_BK.sum()
        return {"flow": flow}, intermediate_BNW


def time_features(time_B: Tensor) -> Tensor:
    """Sinusoidal features [B, 256] of 1000 t, as in FLUX."""
    half = TIME_FREQUENCIES // 2
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


def inpaint(
    noisy_BNK: Tensor,
    known_BNK: Tensor,
    stage_B: Tensor,
    start: StructureInput = StructureInput.PARTIAL,
) -> Tensor:
    """Eq. 1: channels of the stages before i keep their true value, the rest stay noisy."""
    is_known_BK = known_channels(stage_B, noisy_BNK.shape[-1], start)
    return torch.where(is_known_BK.unsqueeze(1), known_BNK, noisy_BNK)
