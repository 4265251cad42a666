"""The backbone of both generators: class token + image tokens through the blocks (A.4).

Legend: B image of a batch, N position, T token, W width, C channel, K structure channel.
"""

import torch
from torch import Tensor, nn

from nvg.generator.config import TransformerConfig
from nvg.generator.layers import OutputLayer, ParallelBlock
from nvg.generator.rope import rope_dims, rotation
from nvg.generator.variants import Rope
from nvg.geometry import Geometry

CLASS_KIND = 0  # token kinds, the first rotary axis
IMAGE_KIND = 1
STRUCTURE_KIND = 2


class Backbone(nn.Module):
    """Transformer over one class token and N position tokens, conditioned by modulation.

    Class `classes` is the null class of classifier-free guidance.
    """

    def __init__(
        self, config: TransformerConfig, geometry: Geometry, classes: int, inputs: int, outputs: int
    ) -> None:
        super().__init__()
        width = config.width
        self.geometry, self.rope = geometry, config.rope
        self.null_class: int = classes
        self.dims = rope_dims(width // config.heads, geometry.K)
        self.class_embedding = nn.Embedding(classes + 1, width)
        self.stage_embedding = nn.Embedding(geometry.stages, width)
        self.input = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            ParallelBlock(width, config.heads, config.dropout) for _ in range(config.depth)
        )
        self.output = OutputLayer(width, outputs)

    def condition(self, label_B: Tensor, stage_B: Tensor) -> Tensor:
        """What drives the modulation: class embedding + stage embedding, [B, W]."""
        return self.class_embedding(label_B) + self.stage_embedding(stage_B)

    def forward(
        self,
        values_BNC: Tensor,
        label_B: Tensor,
        condition_BW: Tensor,
        ids_BTA: Tensor,
        intermediate_block: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Values at the positions [B, N, C] -> outputs there, and an intermediate block's tokens.

        The intermediate tokens [B, N, W] follow block `intermediate_block`, counted from 1; 0
        stands for the input of the first block.
        """
        class_token = self.class_embedding(label_B).unsqueeze(1)
        token_BTW = torch.cat((class_token, self.input(values_BNC)), dim=1)
        angles = rotation(ids_BTA, self.dims)
        intermediate_BTW = token_BTW
        for number, block in enumerate(self.blocks, start=1):
            token_BTW = block(token_BTW, condition_BW, angles)
            if number == intermediate_block:
                intermediate_BTW = token_BTW
        return self.output(token_BTW[:, 1:], condition_BW), intermediate_BTW[:, 1:]

    def token_ids(self, embedding_BNK: Tensor, kind: int) -> Tensor:
        """Rotary ids [B, 1 + N, 1 + K + 2]: kind, structure channels, row, column.

        The class token has the class kind and zeros elsewhere.
        """
        batch, positions, _ = embedding_BNK.shape
        position_N = torch.arange(positions, device=embedding_BNK.device)
        grid = self.geometry.grid
        place_N3 = torch.stack(
            (torch.full_like(position_N, kind), position_N // grid, position_N % grid), dim=1
        ).expand(batch, -1, -1)
        if self.rope is Rope.SPATIAL:
            embedding_BNK = torch.zeros_like(embedding_BNK)
        ids_BNA = torch.cat((place_N3[..., :1], embedding_BNK, place_N3[..., 1:]), dim=-1)
        class_B1A = torch.zeros_like(ids_BNA[:, :1])
        class_B1A[..., 0] = CLASS_KIND
        return torch.cat((class_B1A, ids_BNA), dim=1)
