"""Content generator (Sec. 2.2.2, A.4): canvas + structure -> final canvas -> tokens of a stage.

Legend: B image of a batch, N position, T token, n cluster of a stage, M vector of a flat list,
C channel, V code, K structure channel, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.choices import ContentInput, ContentStart, Prediction, Skip
from nvg.generator.backbone import IMAGE, Backbone
from nvg.generator.config import GeneratorShape, canvas_unit
from nvg.generator.generator import ByStage, Generator, TrainingExample
from nvg.generator.layers import OutputLinear
from nvg.generator.rope import Rotation
from nvg.geometry import Geometry, leaf_order, mixed_bit_embedding


class ContentGenerator(Generator):
    """Predicts the final canvas from the current one; its cluster residuals give token logits.

    The variant says in which units it sees and predicts canvases, and whether it predicts the final
    canvas or what is to be added to the current one.
    """

    unit_S: Tensor

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.geometry, self.variant = Geometry(shape.grid), shape.variant
        self.unit = canvas_unit(shape)
        channels = shape.latent_dim
        self.backbone = Backbone(
            shape.transformer,
            self.geometry,
            shape.classes,
            channels,
            channels,
            self.variant.token_kinds,
        )
        self.head = OutputLinear(channels, shape.codebook_size)
        if self.variant.content_start is ContentStart.LEARNT:
            self.start = nn.Parameter(torch.randn(self.geometry.positions, channels))
        units = shape.canvas_rms or [self.unit] * (self.geometry.stages + 1)
        self.register_buffer("unit_S", torch.tensor(units), persistent=False)

    def forward(
        self,
        canvas_BNC: Tensor,
        embedding_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        angles: Rotation | None = None,
    ) -> Tensor:
        """Predicted final canvas [B, N, C] from canvas x_{i-1} and the bit embedding of s_i."""
        return self.predict(canvas_BNC, embedding_BNK, label_B, stage_B, angles=angles)[0]

    def predict(
        self,
        canvas_BNC: Tensor,
        embedding_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        intermediate_block: int = 0,
        angles: Rotation | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same, and the backbone's tokens after block `intermediate_block` [B, N, W].

        `angles` are those of `angles_of` for this embedding, where they are known already.
        """
        angles = self.angles_of(embedding_BNK) if angles is None else angles
        condition = self.backbone.condition(label_B, stage_B)
        output_BNC, intermediate_BNW = self.backbone(
            self._scaled(canvas_BNC, stage_B), label_B, condition, angles, intermediate_block
        )
        predicted_BNC = output_BNC * self.unit_S[-1]
        if self.variant.skip is Skip.CANVAS:
            predicted_BNC = canvas_BNC + predicted_BNC
        return predicted_BNC, intermediate_BNW

    def angles_of(self, embedding_BNK: Tensor) -> Rotation:
        """How the tokens are turned that the bit embedding of s_i describes."""
        return self.backbone.angles_of(embedding_BNK, IMAGE)

    def _scaled(self, canvas_BNC: Tensor, stage_B: Tensor) -> Tensor:
        """The network's input [B, N, C]: canvases in their units, or what is learnt at stage 0."""
        values_BNC = canvas_BNC / self.unit_S[stage_B].view(-1, 1, 1)
        if self.variant.content_start is ContentStart.ZEROS:
            return values_BNC
        return torch.where((stage_B == 0).view(-1, 1, 1), self.start, values_BNC)

    def draw_noise(self, canvas_BNC: Tensor, images: int | None = None) -> tuple[Tensor, ...]:
        """N(0, 1) noise [B, N, C] for a noised canvas; none where the input is the canvas."""
        if self.variant.content_input is ContentInput.CANVAS:
            return ()
        return (torch.randn(canvas_BNC.shape).to(canvas_BNC.device),)

    def noised_canvas(self, canvas_BNC: Tensor, stage_B: Tensor, *noise_BNC: Tensor) -> Tensor:
        """The input of stage i: the canvas, noised as ContentInput says by what was drawn."""
        if self.variant.content_input is ContentInput.CANVAS:
            return canvas_BNC
        fraction_B11 = (1 - stage_B / (self.geometry.K + 1)).view(-1, 1, 1)
        scaled_BNC = fraction_B11 * noise_BNC[0] * self.unit
        if self.variant.content_input is ContentInput.NOISED:
            return canvas_BNC + scaled_BNC
        return (1 - fraction_B11.square()).sqrt() * canvas_BNC + scaled_BNC

    def logit_input(
        self, predicted_BNC: Tensor, canvas_BNC: Tensor, noised_canvas_BNC: Tensor
    ) -> Tensor:
        """What gives the logits: the residual to the canvas, or the backbone's own output."""
        if self.variant.prediction is Prediction.FINAL:
            return predicted_BNC - canvas_BNC
        is_added = self.variant.skip is Skip.CANVAS
        return predicted_BNC - noised_canvas_BNC if is_added else predicted_BNC

    def logits(self, residual_BNC: Tensor, order_BN: Tensor, stage: int) -> Tensor:
        """Token logits [B, 2^stage, V] from f(x_{i-1}) - x_{i-1}, averaged over each cluster."""
        sorted_BNC = residual_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(residual_BNC))
        mean_BnC = sorted_BNC.unflatten(1, (self.geometry.clusters(stage), -1)).mean(2)
        return self.head(mean_BnC / self.unit)

    def loss(
        self, example: TrainingExample, intermediate_block: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Eq. 3: squared error of the final canvas in its unit, cross-entropy of the tokens.

        Direct prediction has no canvas error.
        """
        batch, canvas_BNC = example.batch, example.canvas
        stage_B = example.stage.to(canvas_BNC.device)
        embedding_BNK = mixed_bit_embedding(batch.leaves, stage_B, self.geometry.K)
        noised_BNC = self.noised_canvas(canvas_BNC, stage_B, *example.noise)
        predicted_BNC, intermediate_BNW = self.predict(
            noised_BNC, embedding_BNK, example.label, stage_B, intermediate_block
        )
        residual_BNC = self.logit_input(predicted_BNC, canvas_BNC, noised_BNC)
        terms = {"entropy": self._cross_entropy(residual_BNC, example)}
        if self.variant.prediction is Prediction.FINAL:
            final_BNC = example.final / self.unit
            error = F.mse_loss(predicted_BNC / self.unit, final_BNC)
            terms = {"canvas": error, **terms}
        return terms, intermediate_BNW

    def _cross_entropy(self, residual_BNC: Tensor, example: TrainingExample) -> Tensor:
        """Our choice: the mean within an image first, so that every stage weighs the same.

        The images are sorted by stage, so that the tokens of all stages make one list for the head.
        """
        by_stage = example.by_stage or ByStage.of(example.stage)
        image_B = by_stage.order.to(residual_BNC.device)
        order_BN1 = leaf_order(example.batch.leaves).unsqueeze(-1)
        sorted_BNC = residual_BNC.gather(1, order_BN1.expand_as(residual_BNC))[image_B]
        content_BT = example.batch.content[image_B]
        means, targets, first = [], [], 0
        for stage, images in by_stage.counts:
            part_BNC = sorted_BNC[first : first + images]
            mean_BnC = part_BNC.unflatten(1, (self.geometry.clusters(stage), -1)).mean(2)
            means.append(mean_BnC.flatten(0, 1))
            of_stage = self.geometry.stage_slice(stage)
            targets.append(content_BT[first : first + images, of_stage].flatten())
            first += images
        logits_MV = self.head(torch.cat(means) / self.unit)
        loss_M = F.cross_entropy(logits_MV.float(), torch.cat(targets), reduction="none")
        parts = loss_M.split([len(target) for target in targets])
        entropies = [
            part.sum() / self.geometry.clusters(stage)
            for part, (stage, _) in zip(parts, by_stage.counts, strict=True)
        ]
        return torch.stack(entropies).sum() / first
