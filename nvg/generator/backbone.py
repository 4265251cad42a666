"""The backbone of both generators: class token + position tokens through the blocks (A.4).

Legend: B image of a batch, N position, T token, W width, C channel, K structure channel, A id axis.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nvg.choices import Rope, TokenKinds
from nvg.generator.config import TransformerConfig
from nvg.generator.layers import OutputLayer, ParallelBlock, draw_paths
from nvg.generator.rope import Rotary, Rotation, rope_dims
from nvg.geometry import Geometry

CLASS, IMAGE, STRUCTURE, CANVAS = "class", "image", "structure", "canvas"
KINDS = {  # ids of the kinds of tokens, the first rotary axis
    TokenKinds.COUNTED: {CLASS: 0, IMAGE: 1, STRUCTURE: 2, CANVAS: 3},
    TokenKinds.RELEASE: {CLASS: 1, IMAGE: 0, STRUCTURE: 0, CANVAS: 2},
}


class Backbone(nn.Module):
    """Transformer over one class token and position tokens, conditioned by modulation.

    Class `classes` is the null class of classifier-free guidance.
    """

    def __init__(
        self,
        config: TransformerConfig,
        geometry: Geometry,
        classes: int,
        inputs: int,
        outputs: int,
        kinds: TokenKinds = TokenKinds.COUNTED,
    ) -> None:
        super().__init__()
        width, depth = config.width, config.depth
        self.geometry, self.rope, self.kinds = geometry, config.rope, kinds
        self.null_class: int = classes
        self.rotary = Rotary(rope_dims(width // config.heads, geometry.K))
        self.class_embedding = nn.Embedding(classes + 1, width)
        self.stage_embedding = nn.Embedding(geometry.stages, width)
        self.input = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            ParallelBlock(width, config.heads, config.dropout) for _ in range(depth)
        )
        self.drop_path = [config.drop_path * n / max(depth - 1, 1) for n in range(depth)]
        self.output = OutputLayer(width, outputs)

    def condition(self, label_B: Tensor, stage_B: Tensor) -> Tensor:
        """What drives the modulation: class embedding + stage embedding, [B, W]."""
        return self.class_embedding(label_B) + self.stage_embedding(stage_B)

    def forward(
        self,
        values_BNC: Tensor,
        label_B: Tensor,
        condition_BW: Tensor,
        angles: Rotation,
        intermediate_block: int = 0,
        context_BNW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Values at the positions [B, N, C] -> outputs there, and an intermediate block's tokens.

        `angles` are those of all tokens, as `angles_of` gives them.
        `context` are further tokens, between the class token and the positions'. The intermediate
        tokens [B, N, W] follow block `intermediate_block`, counted from 1; 0 stands for the input
        of the first block.
        """
        parts = [self.class_embedding(label_B).unsqueeze(1), self.input(values_BNC)]
        if context_BNW is not None:
            parts.insert(1, context_BNW)
        token_BTW = torch.cat(parts, dim=1)
        intermediate_BTW = token_BTW
        paths = self._paths(len(token_BTW), token_BTW.device)
        for number, (block, path_B) in enumerate(zip(self.blocks, paths, strict=True), start=1):
            token_BTW = block(token_BTW, condition_BW, angles, path_B)
            if number == intermediate_block:
                intermediate_BTW = token_BTW
        positions = values_BNC.shape[1]
        return (
            self.output(token_BTW[:, -positions:], condition_BW),
            intermediate_BTW[:, -positions:],
        )

    def _paths(self, count: int, device: torch.device) -> Iterable[Tensor | None]:
        """For each block the factors of the images' branches, None where none is dropped."""
        if not self.training or not any(self.drop_path):
            return [None] * len(self.blocks)
        return draw_paths(self.drop_path, count, device)

    def angles_of(self, embedding_BNK: Tensor, *kinds: str) -> Rotation:
        """How the tokens of these kinds are turned: the same at every flow step of a stage."""
        return self.rotary(self.token_ids(embedding_BNK, *kinds))

    def token_ids(self, embedding_BNK: Tensor, *kinds: str) -> Tensor:
        """Rotary ids [B, 1 + kinds N, 1 + K + 2]: kind, structure channels, row, column.

        The class token first, then the positions once for each kind.
        """
        batch, positions, _ = embedding_BNK.shape
        place_N = torch.arange(positions, device=embedding_BNK.device)
        grid = self.geometry.grid
        place_N2 = torch.stack((place_N // grid, place_N % grid), dim=1).expand(batch, -1, -1)
        if self.rope is Rope.SPATIAL:
            embedding_BNK = torch.zeros_like(embedding_BNK)
        number = KINDS[self.kinds]
        parts = []
        for kind in kinds:
            kind_BN1 = torch.full_like(embedding_BNK[..., :1], number[kind])
            parts.append(torch.cat((kind_BN1, embedding_BNK, place_N2), dim=-1))
        class_B1A = torch.zeros_like(parts[0][:, :1])
        if self.kinds is TokenKinds.RELEASE:
            class_B1A = torch.ones_like(class_B1A)
        class_B1A[..., 0] = number[CLASS]
        return torch.cat((class_B1A, *parts), dim=1)
