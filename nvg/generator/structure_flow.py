"""Structure generator (Sec. 2.2.1, A.4): rectified flow over the bit embedding, by inpainting.

Legend: B image of a batch, N position, C channel, K structure channel, W width, F feature
channel.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.generator.backbone import STRUCTURE_KIND, Backbone, TransformerConfig
from nvg.generator.variants import StructureInput
from nvg.geometry import Geometry, mixed_bit_embedding

TIME_FREQUENCIES = 256


class StructureGenerator(nn.Module):
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
        ids = self.backbone.token_ids(parent_BNK, STRUCTURE_KIND)
        condition = self.backbone.condition(label_B, stage_B) + self.time(time_features(time_B))
        values = torch.cat((noisy_BNK, canvas_BNC / self.latent_scale), dim=-1)
        return self.backbone(values, label_B, condition, ids)[0]


def time_features(time_B: Tensor) -> Tensor:
    """Sinusoidal features [B, 256] of 1000 t, as in FLUX."""
    half = TIME_FREQUENCIES // 2
    frequency_F = torch.exp(
        -math.log(10000.0) * torch.arange(half, device=time_B.device, dtype=torch.float32) / half
    )
    angle_BF = 1000.0 * time_B.float().unsqueeze(1) * frequency_F
    return torch.cat((angle_BF.cos(), angle_BF.sin()), dim=1)


def inpaint(
    noisy_BNK: Tensor,
    known_BNK: Tensor,
    stage_B: Tensor,
    start: StructureInput = StructureInput.PARTIAL,
) -> Tensor:
    """Eq. 1: channels of the stages before i keep their true value, the rest stay noisy."""
    if start is StructureInput.NOISE:
        return noisy_BNK
    channel_K = torch.arange(noisy_BNK.shape[-1], device=noisy_BNK.device)
    is_known = channel_K < (stage_B - 1).view(-1, 1, 1)
    return torch.where(is_known, known_BNK, noisy_BNK)


def structure_loss(
    model: StructureGenerator,
    canvas: Tensor,
    leaves: Tensor,
    label: Tensor,
    stage: Tensor,
    noise: Tensor,
    time: Tensor,
) -> Tensor:
    """Flow matching on the channels that stage i does not know yet, scalar.

    canvas x_{i-1} [B, N, C], leaves [B, N], stage [B] in 1..K-1, noise [B, N, K], time [B].
    """
    K = model.geometry.K
    clean = mixed_bit_embedding(leaves, torch.full_like(stage, K), K).float()
    parent = mixed_bit_embedding(leaves, stage - 1, K)
    time_B11 = time.view(-1, 1, 1)
    mixed = time_B11 * noise + (1 - time_B11) * clean
    noisy = inpaint(mixed, clean, stage, model.start)
    velocity = model(noisy, time, canvas, parent, label, stage)
    error = F.mse_loss(velocity, noise - clean, reduction="none").mean(1)
    known = 0 if model.start is StructureInput.NOISE else stage - 1
    unknown = (torch.arange(K, device=stage.device) >= torch.as_tensor(known).view(-1, 1)).float()
    unknown = unknown.expand_as(error)
    return (error * unknown).sum() / unknown.sum()
