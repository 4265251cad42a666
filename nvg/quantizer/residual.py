"""A residual quantizer in general: stages of pooled residuals, one codebook, residual convs phi.

A subclass says what a stage pools over and how its codes are scattered: clusters (granularity.py)
or scales (scale.py). The rest is shared, so that the two can be compared.

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

from nvg.choices import PhiCount, PhiForm
from nvg.geometry import as_int64
from nvg.precision import Part, numbers
from nvg.quantizer.nearest import nearest_code

PHIS = 4  # distinct phi over all stages where they are shared, as in VAR
BLEND = 0.5  # weight of the convolution in phi, as in VAR
COMMITMENT = 0.25  # weight of the encoder's side of the quantizer loss, as in VAR
MIN_PROBABILITY = 1e-12  # of a code, in the entropy of all
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
    """The quantizer's output for a batch of latents in training."""

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
    """Of a token given its residual, minus that of all tokens; 0 unless asked for."""


class ResidualConv(nn.Module):
    """phi: one 3x3 convolution joined with its input, on the latent grid."""

    def __init__(self, latent_dim: int, form: PhiForm = PhiForm.BLEND) -> None:
        super().__init__()
        self.form = form
        self.conv = nn.Conv2d(latent_dim, latent_dim, 3, padding=1)

    def forward(self, grid_BCDD: Tensor) -> Tensor:
        if self.form is PhiForm.RESIDUAL:
            return grid_BCDD + BLEND * self.conv(grid_BCDD)
        return torch.lerp(grid_BCDD, self.conv(grid_BCDD), BLEND)


class ResidualQuantizer(nn.Module, ABC):
    """One codebook and a few residual convs phi that turn latents into tokens, coarse to fine."""

    def __init__(
        self,
        codebook_size: int,
        latent_dim: int,
        layout: Layout,
        grid: int,
        phi: PhiForm = PhiForm.BLEND,
        phis: PhiCount = PhiCount.FOUR,
    ) -> None:
        super().__init__()
        self.layout, self.grid, self.phis = layout, grid, phis
        count = layout.stages if phis is PhiCount.STAGE else PHIS
        self.codebook = nn.Parameter(torch.randn(codebook_size, latent_dim))
        self.refiners = nn.ModuleList(ResidualConv(latent_dim, phi) for _ in range(count))

    @abstractmethod
    def pool(self, values_BNC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Values at the positions -> one mean for each token of the stage [B, n, C]."""

    @abstractmethod
    def scatter(self, values_BnC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Values of the tokens -> values at the positions [B, N, C]."""

    def phi_index(self, stage: int) -> int:
        """Which phi serves `stage`: its own, or of P shared ones that of the nearest tick.

        The ticks are linspace(1/3P, 1-1/3P, P), a stage lies at stage/last. In integers, so that a
        stage half-way between two ticks always takes the later one.
        """
        if self.phis is PhiCount.STAGE:
            return stage
        P, last = PHIS, self.layout.stages - 1
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
            code_BnC = self.codes(content[:, self.layout.stage_slice(stage)])
            canvas = self.add_stage(canvas, code_BnC, leaves, stage)
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
        """The pooled residuals of each stage [M, C] under a perfect codebook without phi.

        Stages in order; a codebook is initialized from them.
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
        """Quantize for training; see `Quantized`.

        Straight-through: the final canvas passes its gradient to the latents unchanged. With `ibq`
        it goes through a softmax over all codes, which then all learn (IBQ).
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
        with numbers(Part.QUANTIZER, latents.device):
            latents = latents.to(self.codebook.dtype)
            canvas = torch.zeros_like(latents)
            content, canvases, means = [], [], []
            for stage in range(self.layout.stages):
                with torch.no_grad():
                    mean_BnC = self.pool(latents - canvas, leaves, stage)
                    token_Bn = nearest_code(mean_BnC.flatten(0, 1), self.codebook)
                content.append(token_Bn.view(len(latents), -1))
                canvas = self.add_stage(canvas, self.codes(content[-1]), leaves, stage)
                canvases.append(canvas)
                means.append(mean_BnC)
        return torch.cat(content, dim=1), canvases, means

    def codes(self, tokens: Tensor) -> Tensor:
        """Codes c_i [B, n, C] of token ids [B, n]."""
        return F.embedding(as_int64(tokens), self.codebook)

    def add_stage(self, canvas_BNC: Tensor, code_BnC: Tensor, leaves: Tensor, stage: int) -> Tensor:
        """Canvas x_i = x_{i-1} + phi_i(a(c_i, s_i)) [B, N, C]; fp32, whatever the autocast."""
        with numbers(Part.QUANTIZER, canvas_BNC.device):
            scattered_BNC = self.scatter(code_BnC, leaves, stage)
            grid_BCDD = rearrange(scattered_BNC, "b (y x) c -> b c y x", y=self.grid)
            refined_BCDD = self.refiners[self.phi_index(stage)](grid_BCDD)
            return canvas_BNC + rearrange(refined_BCDD, "b c y x -> b (y x) c")

    def _soft_canvases(
        self, latents: Tensor, leaves: Tensor, content: Tensor, canvases: list[Tensor]
    ) -> list[Tensor]:
        """The same canvases; in the backward pass their codes are a softmax's (IBQ)."""
        with numbers(Part.QUANTIZER, latents.device):
            soft, found = self.empty_canvas(len(latents)), []
            for stage, logits_BnV in enumerate(self._logits(latents, leaves, canvases)):
                soft_BnV = logits_BnV.softmax(-1)
                token_Bn = content[:, self.layout.stage_slice(stage)]
                hard_BnV = F.one_hot(token_Bn, len(self.codebook)).to(soft_BnV.dtype)
                code_BnC = (hard_BnV - soft_BnV.detach() + soft_BnV) @ self.codebook
                soft = self.add_stage(soft, code_BnC, leaves, stage)
                found.append(soft)
        return found

    def _entropy(self, latents: Tensor, leaves: Tensor, canvases: list[Tensor]) -> Tensor:
        """Mean entropy of a token minus the entropy of the mean token, over all stages."""
        own, sum_V, count = latents.new_zeros(()), torch.zeros_like(self.codebook[:, 0]), 0
        with numbers(Part.QUANTIZER, latents.device):
            for logits_BnV in self._logits(latents, leaves, canvases):
                log_MV = (logits_BnV / ENTROPY_TEMPERATURE).flatten(0, 1).log_softmax(-1)
                probability_MV = log_MV.exp()
                own = own - (probability_MV * log_MV).sum()
                sum_V, count = sum_V + probability_MV.sum(0), count + len(log_MV)
            mean_V = sum_V / count
            # A code far from every residual has probability 0, whose logarithm has no gradient.
            return own / count + torch.xlogy(mean_V, mean_V.clamp(min=MIN_PROBABILITY)).sum()

    def _logits(self, latents: Tensor, leaves: Tensor, canvases: list[Tensor]) -> list[Tensor]:
        """Minus the squared distance of each pooled residual to each code [B, n, V].

        Without the residual's own square, which cancels in a softmax; with gradients to both.
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
