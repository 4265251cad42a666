"""A residual quantiser in general: stages of pooled residuals, one codebook, a few refiners.

What a stage pools over and how its codes are spread again is a pyramid's own: clusters
(quantizer.py) or scales (scale_pyramid.py). All else is the same, so that they can be compared.

Legend: B image of a batch, N position, n cluster of a stage, C channel, V code, T token, D row or
column of pixels or of the grid, M vector of a flat list.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nvg.geometry import as_int64
from nvg.quantizer.nearest import nearest_code

REFINERS = 4  # distinct phi over all stages, partially shared as in VAR
BLEND = 0.5  # share of the convolution in phi, as in VAR
COMMITMENT = 0.25  # weight of the encoder's side of the quantiser loss, as in VAR
LEAST_SHARE = 1e-12  # of a codeword in the entropy of all
ENTROPY_TEMPERATURE = 0.01  # of squared distances, as in Open-MAGVIT2


class Layout(Protocol):
    """Where the tokens of each stage lie in a sequence."""

    @property
    def stages(self) -> int:
        """How many stages."""

    @property
    def tokens(self) -> int:
        """How many tokens in all."""

    def clusters(self, stage: int) -> int:
        """How many tokens a stage has."""

    def stage_slice(self, stage: int) -> slice:
        """Where they are."""


@dataclass(frozen=True)
class Quantized:
    """What the quantiser makes of a batch of latents while training."""

    canvas: Tensor
    """Final canvas [B, N, C], with a gradient to the latents."""
    content: Tensor
    """Token ids [B, T], int64, stages in order."""
    loss: Tensor
    """Mean over stages of commitment and codebook terms, scalar."""
    stage_error: Tensor
    """Mean squared residual after each stage [S], detached."""
    means: Tensor
    """Every pooled residual that was looked up [M, C], detached."""
    entropy: Tensor
    """Of a token given its residual, less that of all tokens; 0 unless asked for."""


class Refiner(nn.Module):
    """phi: one 3x3 convolution blended with its input, on the latent grid."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(latent_dim, latent_dim, 3, padding=1)

    def forward(self, grid_BCDD: Tensor) -> Tensor:
        return torch.lerp(grid_BCDD, self.conv(grid_BCDD), BLEND)


class ResidualQuantizer(nn.Module, ABC):
    """One codebook and a few refiners that turn latents into tokens, coarse to fine."""

    def __init__(self, codebook_size: int, latent_dim: int, layout: Layout, grid: int) -> None:
        super().__init__()
        self.layout, self.grid = layout, grid
        self.codebook = nn.Parameter(torch.randn(codebook_size, latent_dim))
        self.refiners = nn.ModuleList(Refiner(latent_dim) for _ in range(REFINERS))

    @abstractmethod
    def pool(self, values_BNC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Values at the positions -> one mean for each token of the stage [B, n, C]."""

    @abstractmethod
    def scatter(self, values_BnC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Values of the tokens -> values at the positions [B, N, C]."""

    def refiner_index(self, stage: int) -> int:
        """Which phi serves `stage`: the tick of linspace(1/3P, 1-1/3P, P) nearest to stage/last.

        In integers, so that a stage half-way between two ticks always takes the later one.
        """
        P, last = REFINERS, self.layout.stages - 1
        spacing = last * (3 * P - 2)
        offset = (3 * P * stage - last) * (P - 1)
        return min(max((2 * offset + spacing) // (2 * spacing), 0), P - 1)

    @torch.no_grad()
    def encode(self, latents: Tensor, leaves: Tensor) -> Tensor:
        """Eq. 4, 5: latents [B, N, C] and leaves [B, N] -> token ids [B, T], int64."""
        return self._run(latents, leaves)[0]

    @torch.no_grad()
    def measure(self, latents: Tensor, leaves: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and the mean squared residual after each stage [B, S]."""
        content, canvases, _ = self._run(latents, leaves)
        errors = [(latents - canvas).double().square().mean((1, 2)) for canvas in canvases]
        return content, torch.stack(errors, dim=1).float()

    def canvases(self, content: Tensor, leaves: Tensor, stage: int | None = None) -> list[Tensor]:
        """The canvas [B, N, C] after every stage up to `stage`, rebuilt from tokens."""
        last = self.layout.stages - 1 if stage is None else stage
        canvas, found = self.empty_canvas(len(leaves)), []
        for stage in range(last + 1):
            tokens = as_int64(content[:, self.layout.stage_slice(stage)])
            canvas = self._add(canvas, F.embedding(tokens, self.codebook), leaves, stage)
            found.append(canvas)
        return found

    def canvas(self, content: Tensor, leaves: Tensor, stage: int | None = None) -> Tensor:
        """Canvas [B, N, C] after `stage` (inclusive; the last by default), rebuilt from tokens."""
        return self.canvases(content, leaves, stage)[-1]

    def empty_canvas(self, batch: int) -> Tensor:
        """The canvas before stage 0: zeros [B, N, C] beside the codebook."""
        shape = (batch, self.grid**2, self.codebook.shape[1])
        return torch.zeros(shape, dtype=self.codebook.dtype, device=self.codebook.device)

    @torch.no_grad()
    def residuals(self, latents: Tensor, leaves: Tensor) -> Tensor:
        """What latents leave to each stage of a perfect codebook without refiners, [M, C].

        Stages in order; where a codebook starts from.
        """
        rest, found = latents, []
        for stage in range(self.layout.stages):
            mean_BnC = self.pool(rest, leaves, stage)
            rest = rest - self.scatter(mean_BnC, leaves, stage)
            found.append(mean_BnC.flatten(0, 1))
        return torch.cat(found)

    def forward(
        self,
        latents: Tensor,
        leaves: Tensor,
        ibq: bool = False,
        with_entropy: bool = False,
    ) -> Quantized:
        """Quantise for training; see `Quantized`.

        The canvas passes its gradient straight to the latents, as if nothing were rounded; or with
        `by_index`, through a softmax over all codewords, which then all learn (IBQ).
        """
        content, canvases, means = self._run(latents, leaves)
        error_S = torch.stack([(latents - canvas).detach().square().mean() for canvas in canvases])
        losses = [
            COMMITMENT * F.mse_loss(canvas.detach(), latents) + F.mse_loss(canvas, latents.detach())
            for canvas in canvases
        ]
        final = latents + (canvases[-1] - latents).detach()
        if ibq:
            soft = self._soft_canvases(latents, leaves, content, canvases)
            losses += [F.mse_loss(canvas, latents) for canvas in soft]
            final = soft[-1]
        pooled = torch.cat([mean.flatten(0, 1) for mean in means])
        entropy = self._entropy(latents, leaves, canvases) if with_entropy else pooled.new_zeros(())
        loss = torch.stack(losses).sum() / self.layout.stages
        return Quantized(final, content, loss, error_S, pooled, entropy)

    def _run(self, latents: Tensor, leaves: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Token ids, the canvas after and the pooled residual of each stage; fp32, whatever the
        autocast. The search itself carries no gradient."""
        self._check(latents, leaves)
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.to(self.codebook.dtype)
            canvas = torch.zeros_like(latents)
            content, canvases, means = [], [], []
            for stage in range(self.layout.stages):
                with torch.no_grad():
                    mean_BnC = self.pool(latents - canvas, leaves, stage)
                    token_Bn = nearest_code(mean_BnC.flatten(0, 1), self.codebook)
                content.append(token_Bn.view(len(latents), -1))
                code_BnC = F.embedding(content[-1], self.codebook)
                canvas = self._add(canvas, code_BnC, leaves, stage)
                canvases.append(canvas)
                means.append(mean_BnC)
        return torch.cat(content, dim=1), canvases, means

    def _add(self, canvas_BNC: Tensor, code_BnC: Tensor, leaves: Tensor, stage: int) -> Tensor:
        """Canvas + phi_i(a(c_i, s_i))."""
        return canvas_BNC + self.refine(self.scatter(code_BnC, leaves, stage), stage)

    def refine(self, values_BNC: Tensor, stage: int) -> Tensor:
        """phi of a stage on values at the positions."""
        grid_BCDD = rearrange(values_BNC, "b (y x) c -> b c y x", y=self.grid)
        refined_BCDD = self.refiners[self.refiner_index(stage)](grid_BCDD)
        return rearrange(refined_BCDD, "b c y x -> b (y x) c")

    def _soft_canvases(
        self, latents: Tensor, leaves: Tensor, content: Tensor, canvases: list[Tensor]
    ) -> list[Tensor]:
        """The same canvases, whose codes are a softmax's in the backward pass (IBQ, Eq. of P E)."""
        with torch.autocast(latents.device.type, enabled=False):
            soft, found = self.empty_canvas(len(latents)), []
            for stage, logits_BnV in enumerate(self._logits(latents, leaves, canvases)):
                share_BnV = logits_BnV.softmax(-1)
                token_Bn = content[:, self.layout.stage_slice(stage)]
                hard_BnV = F.one_hot(token_Bn, len(self.codebook)).to(share_BnV.dtype)
                code_BnC = (hard_BnV - share_BnV.detach() + share_BnV) @ self.codebook
                soft = self._add(soft, code_BnC, leaves, stage)
                found.append(soft)
        return found

    def _entropy(self, latents: Tensor, leaves: Tensor, canvases: list[Tensor]) -> Tensor:
        """Mean entropy of a token less the entropy of the mean token, over all stages."""
        own, share_V, count = latents.new_zeros(()), torch.zeros_like(self.codebook[:, 0]), 0
        with torch.autocast(latents.device.type, enabled=False):
            for logits_BnV in self._logits(latents, leaves, canvases):
                log_MV = (logits_BnV / ENTROPY_TEMPERATURE).flatten(0, 1).log_softmax(-1)
                share_MV = log_MV.exp()
                own = own - (share_MV * log_MV).sum()
                share_V, count = share_V + share_MV.sum(0), count + len(log_MV)
            mean_V = share_V / count
            # A codeword that no residual is near has share 0, whose logarithm has no gradient.
            return own / count + torch.xlogy(mean_V, mean_V.clamp(min=LEAST_SHARE)).sum()

    def _logits(self, latents: Tensor, leaves: Tensor, canvases: list[Tensor]) -> list[Tensor]:
        """Minus the squared distance of each pooled residual to each codeword [B, n, V].

        But for the residual's own square, which no softmax sees; with gradients to both.
        """
        latents = latents.to(self.codebook.dtype)
        square_V = self.codebook.square().sum(1)
        before = [torch.zeros_like(latents), *canvases[:-1]]
        means = [
            self.pool(latents - canvas.detach(), leaves, stage)
            for stage, canvas in enumerate(before)
        ]
        return [2 * mean_BnC @ self.codebook.T - square_V for mean_BnC in means]

    def _check(self, latents: Tensor, leaves: Tensor) -> None:
        wanted = (len(leaves), self.grid**2, self.codebook.shape[1])
        if tuple(latents.shape) != wanted or tuple(leaves.shape) != wanted[:2]:
            raise ValueError(
                f"latents {tuple(latents.shape)} and leaves {tuple(leaves.shape)} do not "
                f"fit: this quantizer needs {wanted} and {wanted[:2]}"
            )
