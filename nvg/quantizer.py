"""Multi-granularity residual quantiser (Sec. 2.1, Eq. 4, 5): latents + leaves <-> content tokens.

Legend: B image, N position, n cluster, C latent channel, V codeword, T token, D grid row or column.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from nvg.codewords import nearest_code
from nvg.geometry import Geometry, as_int64, labels, leaf_order

REFINERS = 4  # distinct phi over all stages, partially shared as in VAR
BLEND = 0.5  # share of the convolution in phi, as in VAR
COMMITMENT = 0.25  # weight of the encoder's side of the quantiser loss, as in VAR


@dataclass(frozen=True)
class Quantized:
    """What the quantiser makes of a batch of latents while training."""

    canvas: Tensor
    """Final canvas [B, N, C], straight-through to the latents."""
    content: Tensor
    """Token ids [B, 2N-1], int64, stages in order."""
    loss: Tensor
    """Mean over stages of commitment and codebook terms, scalar."""
    stage_error: Tensor
    """Mean squared residual after each stage [K+1], detached."""


class Refiner(nn.Module):
    """phi: one 3x3 convolution blended with its input, on the latent grid."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(latent_dim, latent_dim, 3, padding=1)

    def forward(self, grid_BCDD: Tensor) -> Tensor:
        return torch.lerp(grid_BCDD, self.conv(grid_BCDD), BLEND)


class MultiGranularityQuantizer(nn.Module):
    """One codebook and a few refiners that turn latents into 2N-1 tokens, coarse to fine."""

    def __init__(self, codebook_size: int, latent_dim: int, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.codebook = nn.Parameter(torch.randn(codebook_size, latent_dim))
        self.refiners = nn.ModuleList(Refiner(latent_dim) for _ in range(REFINERS))

    def refiner_index(self, stage: int) -> int:
        """Which phi serves `stage`: the tick of linspace(1/3P, 1-1/3P, P) nearest to stage/K.

        In integers, so that a stage half-way between two ticks always takes the later one.
        """
        P, K = REFINERS, self.geometry.K
        spacing = K * (3 * P - 2)
        offset = (3 * P * stage - K) * (P - 1)
        return min(max((2 * offset + spacing) // (2 * spacing), 0), P - 1)

    @torch.no_grad()
    def encode(self, latents: Tensor, leaves: Tensor) -> Tensor:
        """Eq. 4, 5: latents [B, N, C] and leaves [B, N] -> token ids [B, 2N-1], int64."""
        return self._run(latents, leaves)[0]

    @torch.no_grad()
    def measure(self, latents: Tensor, leaves: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids [B, 2N-1] and the mean squared residual after each stage [B, K+1]."""
        content, canvases = self._run(latents, leaves)
        errors = [(latents - canvas).double().square().mean((1, 2)) for canvas in canvases]
        return content, torch.stack(errors, dim=1).float()

    def canvas(self, content: Tensor, leaves: Tensor, stage: int | None = None) -> Tensor:
        """Canvas [B, N, C] after `stage` (inclusive; the last by default), rebuilt from tokens."""
        last = self.geometry.K if stage is None else stage
        canvas = self.empty_canvas(len(leaves))
        for i in range(last + 1):
            tokens = content[:, self.geometry.stage_slice(i)]
            canvas = self.paint(canvas, tokens, labels(leaves, i, self.geometry.K), i)
        return canvas

    @torch.no_grad()
    def teacher_canvases(
        self, content: Tensor, leaves: Tensor, stages: list[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Every image's canvas before its stage, for each vector of stages [B]; and the last one.

        What a generator sees and aims at, rebuilt from tokens in one pass. All [B, N, C].
        """
        canvas = self.empty_canvas(len(leaves))
        before = [canvas] * len(stages)
        for i in range(self.geometry.stages):
            before = [
                torch.where((stage == i).view(-1, 1, 1), canvas, kept)
                for stage, kept in zip(stages, before, strict=True)
            ]
            tokens = content[:, self.geometry.stage_slice(i)]
            canvas = self.paint(canvas, tokens, labels(leaves, i, self.geometry.K), i)
        return before, canvas

    def empty_canvas(self, batch: int) -> Tensor:
        """The canvas before stage 0: zeros [B, N, C] beside the codebook."""
        shape = (batch, self.geometry.positions, self.codebook.shape[1])
        return torch.zeros(shape, dtype=self.codebook.dtype, device=self.codebook.device)

    def paint(self, canvas: Tensor, tokens: Tensor, structure: Tensor, stage: int) -> Tensor:
        """Canvas [B, N, C] + phi_i(a(c_i, s_i)), from tokens [B, 2^i] and structure map [B, N]."""
        code_BN = as_int64(tokens).gather(1, structure)
        grid_BCDD = rearrange(
            F.embedding(code_BN, self.codebook), "b (y x) c -> b c y x", y=self.geometry.grid
        )
        refined_BCDD = self.refiners[self.refiner_index(stage)](grid_BCDD)
        return canvas + rearrange(refined_BCDD, "b c y x -> b (y x) c")

    def forward(self, latents: Tensor, leaves: Tensor) -> Quantized:
        """Quantise for training; see `Quantized`. The search itself carries no gradient."""
        content, canvases = self._run(latents, leaves)
        losses = [
            COMMITMENT * F.mse_loss(canvas.detach(), latents) + F.mse_loss(canvas, latents.detach())
            for canvas in canvases
        ]
        error_S = torch.stack([(latents - canvas).detach().square().mean() for canvas in canvases])
        straight_through = latents + (canvases[-1] - latents).detach()
        return Quantized(straight_through, content, torch.stack(losses).mean(), error_S)

    def _run(self, latents_BNC: Tensor, leaves_BN: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Token ids [B, 2N-1] and the canvas after each stage, in fp32 whatever the autocast."""
        self._check(latents_BNC, leaves_BN)
        with torch.autocast(latents_BNC.device.type, enabled=False):
            return self._stages(latents_BNC.to(self.codebook.dtype), leaves_BN)

    def _check(self, latents_BNC: Tensor, leaves_BN: Tensor) -> None:
        wanted = (len(leaves_BN), self.geometry.positions, self.codebook.shape[1])
        if tuple(latents_BNC.shape) != wanted or tuple(leaves_BN.shape) != wanted[:2]:
            raise ValueError(
                f"latents {tuple(latents_BNC.shape)} and leaves {tuple(leaves_BN.shape)} do not "
                f"fit: this quantizer needs {wanted} and {wanted[:2]}"
            )

    def _stages(self, latents_BNC: Tensor, leaves_BN: Tensor) -> tuple[Tensor, list[Tensor]]:
        order_BN = leaf_order(leaves_BN)
        canvas_BNC = torch.zeros_like(latents_BNC)
        content, canvases = [], []
        for stage in range(self.geometry.stages):
            with torch.no_grad():
                mean_BnC = self._cluster_mean(latents_BNC - canvas_BNC, order_BN, stage)
                token_Bn = nearest_code(mean_BnC.flatten(0, 1), self.codebook)
            content.append(token_Bn.view(len(latents_BNC), -1))
            structure_BN = labels(leaves_BN, stage, self.geometry.K)
            canvas_BNC = self.paint(canvas_BNC, content[-1], structure_BN, stage)
            canvases.append(canvas_BNC)
        return torch.cat(content, dim=1), canvases

    def _cluster_mean(self, values_BNC: Tensor, order_BN: Tensor, stage: int) -> Tensor:
        """Avg(R, s_i): mean of every cluster, [B, 2^stage, C]; a gather, so deterministic."""
        sorted_BNC = values_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(values_BNC))
        return reduce(sorted_BNC, "b (n m) c -> b n c", "mean", n=self.geometry.clusters(stage))
