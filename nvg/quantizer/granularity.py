"""Multi-granularity residual quantizer (Sec. 2.1, Eq. 4, 5): latents + leaves <-> content tokens.

Legend: B image of a batch, S stage, N position, n cluster of a stage, C channel, T token.
"""

import torch
from einops import reduce
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from nvg.choices import PhiCount, PhiForm
from nvg.geometry import Geometry, labels, leaf_order
from nvg.quantizer.residual import ResidualQuantizer
from nvg.weights import CheckpointError, read_header, require_finite, why_damaged


class MultiGranularityQuantizer(ResidualQuantizer):
    """Turns latents into 2N-1 tokens: a token for each cluster of every stage."""

    def __init__(
        self,
        codebook_size: int,
        latent_dim: int,
        geometry: Geometry,
        phi: PhiForm = PhiForm.BLEND,
        phis: PhiCount = PhiCount.FOUR,
    ) -> None:
        super().__init__(codebook_size, latent_dim, geometry, geometry.grid, phi, phis)
        self.geometry = geometry

    def pool(self, values_BNC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Avg(R, s_i): mean of every cluster, [B, 2^stage, C]; a gather, so deterministic."""
        order_BN = leaf_order(leaves_BN)
        sorted_BNC = values_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(values_BNC))
        return reduce(sorted_BNC, "b (n m) c -> b n c", "mean", n=self.geometry.clusters(stage))

    def scatter(self, values_BnC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """a(c_i, s_i): every cluster's value at its positions, [B, N, C]."""
        label_BN = labels(leaves_BN, stage, self.geometry.K)
        channels = values_BnC.shape[-1]
        return values_BnC.gather(1, label_BN.unsqueeze(-1).expand(-1, -1, channels))

    @torch.no_grad()
    def teacher_canvases(
        self, content: Tensor, leaves: Tensor, stages: list[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Every image's canvases before its stages [B, S], for each such tensor; the final one.

        Input and target of a generator, rebuilt from tokens in one pass: [B, S, N, C], [B, N, C].
        """
        canvas = self.empty_canvas(len(leaves))
        before = [canvas.unsqueeze(1)] * len(stages)
        for i in range(self.geometry.stages):
            before = [
                torch.where((stage == i)[..., None, None], canvas.unsqueeze(1), kept)
                for stage, kept in zip(stages, before, strict=True)
            ]
            code_BnC = self.codes(content[:, self.geometry.stage_slice(i)])
            canvas = self.add_stage(canvas, code_BnC, leaves, i)
        return before, canvas


def load_quantizer(data: bytes, geometry: Geometry) -> MultiGranularityQuantizer:
    """Codebook and phi of a store, frozen: the part of the tokenizer that training needs.

    CheckpointError where they cannot be read.
    """
    try:
        weights = load_tensors(data)
        require_finite(weights, "the codebook")
        return _quantizer_of(weights, read_header(data)["config"], geometry)
    except (SafetensorError, RuntimeError, LookupError, ValueError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the codebook of the store cannot be read ({why_damaged(None, error)}): repair it "
            "with `nvgctl tokenize ... --resume`"
        ) from error


def _quantizer_of(
    weights: dict[str, Tensor], made: dict[str, str], geometry: Geometry
) -> MultiGranularityQuantizer:
    codes, channels = weights["codebook"].shape
    # A tokenizer made before there was a choice names none.
    phi = PhiForm(made.get("phi", PhiForm.BLEND))
    phis = PhiCount(made.get("phis", PhiCount.FOUR))
    quantizer = MultiGranularityQuantizer(codes, channels, geometry, phi, phis)
    quantizer.load_state_dict(weights)
    return quantizer.requires_grad_(False).eval()
