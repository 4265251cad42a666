"""The transformer block both generators share: FLUX single-stream, and what surrounds it (A.4).

Legend: B image of a batch, T token, W width, H head, E head channel.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nvg.generator.rope import Rotation, rotate
from nvg.host_copy import sent
from nvg.precision import Part, numbers

MLP_RATIO = 4
NORM_EPS = 1e-6
EMBEDDING_STD = 0.02


def draw_paths(probabilities: Sequence[float], count: int, device: torch.device) -> Tensor:
    """Stochastic depth: factors of the branches of blocks for each image [blocks, B].

    0 with the block's probability, else 1 / (1 - p). Drawn on the CPU, so that a seed fixes them on
    any device, and for all blocks at once: one queued copy.
    """
    kept = [1 - p for p in probabilities]
    drawn = [(torch.rand(count) < k).float() / k if k < 1 else torch.ones(count) for k in kept]
    return sent([torch.stack(drawn)], device)[0]


class OutputLinear(nn.Linear):
    """A linear that stays in float32 inside autocast, whatever dtype its weights are cast to."""

    def forward(self, input: Tensor) -> Tensor:
        with numbers(Part.OUTPUT, input.device):
            return F.linear(input.float(), self.weight.float(), self.bias.float())


class Modulation(nn.Module):
    """SiLU and one linear from the condition to `parts` vectors, zero at the start of training."""

    def __init__(self, width: int, parts: int, linear: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.parts = parts
        self.linear = linear(width, parts * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition_BW: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(condition_BW)).unsqueeze(1).chunk(self.parts, dim=-1)


class ParallelBlock(nn.Module):
    """Attention and MLP side by side between two linears (w -> 3w + 4w, w + 4w -> w).

    Modulated pre-norm, QK-norm before the rotary embedding, one gated residual.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        head_width = width // heads
        self.modulation = Modulation(width, 3)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.linear_in = nn.Linear(width, (3 + MLP_RATIO) * width)
        self.query_norm = nn.RMSNorm(head_width, eps=NORM_EPS)
        self.key_norm = nn.RMSNorm(head_width, eps=NORM_EPS)
        self.linear_out = nn.Linear((1 + MLP_RATIO) * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        token_BTW: Tensor,
        condition_BW: Tensor,
        rotation: Rotation,
        path_B: Tensor | None = None,
    ) -> Tensor:
        """Tokens after the block; `path` is the factor of each image's branch."""
        shift, scale, gate = self.modulation(condition_BW)
        hidden = self.linear_in(self.norm(token_BTW) * (1 + scale) + shift)
        qkv, mlp = hidden.split((3 * self.width, MLP_RATIO * self.width), dim=-1)
        heads_3BHTE = rearrange(qkv, "b t (n h e) -> n b h t e", n=3, h=self.heads)
        query, key = self._turned(heads_3BHTE[:2], rotation)
        mixed = F.scaled_dot_product_attention(query, key, heads_3BHTE[2])
        joined = torch.cat(
            (rearrange(mixed, "b h t e -> b t (h e)"), F.gelu(mlp, approximate="tanh")), dim=-1
        )
        branch_BTW = gate * self.dropout(self.linear_out(joined))
        if path_B is not None:
            branch_BTW = branch_BTW * path_B.type_as(branch_BTW)[:, None, None]
        return token_BTW + branch_BTW

    def _turned(self, both_2BHTE: Tensor, rotation: Rotation) -> Tensor:
        """Queries and keys, normed and turned together in float32, then in their own dtype."""
        with numbers(Part.QUERIES, both_2BHTE.device):
            scale_2E = torch.stack((self.query_norm.weight, self.key_norm.weight)).float()
            normed_2BHTE = F.rms_norm(both_2BHTE.float(), both_2BHTE.shape[-1:], eps=NORM_EPS)
            normed_2BHTE = normed_2BHTE * scale_2E[:, None, None, None]
            return rotate(normed_2BHTE, rotation).type_as(both_2BHTE)


def initialize_xavier(module: nn.Module) -> None:
    """Linears Xavier uniform with zero biases, embeddings N(0, 0.02), as in the release."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=EMBEDDING_STD)


class OutputLayer(nn.Module):
    """Modulated norm and a linear to `channels`, zero at the start of training; in float32."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(width, 2, OutputLinear)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.linear = OutputLinear(width, channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, token_BTW: Tensor, condition_BW: Tensor) -> Tensor:
        shift, scale = self.modulation(condition_BW)
        return self.linear(self.norm(token_BTW) * (1 + scale) + shift)
