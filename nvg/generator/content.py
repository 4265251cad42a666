"""Content generator (Sec. 2.2.2, A.4): canvas + structure -> final canvas -> tokens of a stage.

Legend: B image of a batch, N position, n cluster of a stage, C channel, V code, K structure
channel, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.generator.backbone import IMAGE_KIND, Backbone
from nvg.generator.config import TransformerConfig
from nvg.generator.generator import Generator, TrainingExample
from nvg.generator.variants import ContentInput, Prediction
from nvg.geometry import Geometry, leaf_order, mixed_bit_embedding


class ContentGenerator(Generator):
    """Predicts the final canvas from the current one; its cluster residuals give token logits.

    Our choices: the network predicts a residual to its input canvas, in units of `latent_scale`
    (the codebook's root mean square). So it learns neither the scale of a tokenizer's latents nor
    to copy the canvas.
    """

    def __init__(
        self,
        config: TransformerConfig,
        geometry: Geometry,
        classes: int,
        codebook_size: int,
        latent_dim: int,
        latent_scale: float,
        content_input: ContentInput = ContentInput.CANVAS,
        prediction: Prediction = Prediction.FINAL,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.latent_scale = latent_scale
        self.content_input, self.prediction = content_input, prediction
        self.backbone = Backbone(config, geometry, classes, latent_dim, latent_dim)
        self.head = nn.Linear(latent_dim, codebook_size)

    def forward(
        self, canvas_BNC: Tensor, embedding_BNK: Tensor, label_B: Tensor, stage_B: Tensor
    ) -> Tensor:
        """Predicted final canvas [B, N, C] from canvas x_{i-1} and the bit embedding of s_i."""
        return self.predict(canvas_BNC, embedding_BNK, label_B, stage_B)[0]

    def predict(
        self,
        canvas_BNC: Tensor,
        embedding_BNK: Tensor,
        label_B: Tensor,
        stage_B: Tensor,
        intermediate_block: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """The same, and the backbone's tokens after block `intermediate_block` [B, N, W]."""
        ids = self.backbone.token_ids(embedding_BNK, IMAGE_KIND)
        condition = self.backbone.condition(label_B, stage_B)
        residual_BNC, intermediate_BNW = self.backbone(
            canvas_BNC / self.latent_scale, label_B, condition, ids, intermediate_block
        )
        return canvas_BNC + residual_BNC * self.latent_scale, intermediate_BNW

    def draw_noise(self, canvas_BNC: Tensor) -> tuple[Tensor, ...]:
        """N(0, 1) noise [B, N, C] for a noised canvas; none where the input is the canvas."""
        if self.content_input is ContentInput.CANVAS:
            return ()
        return (torch.randn(canvas_BNC.shape).to(canvas_BNC.device),)

    def noised_canvas(self, canvas_BNC: Tensor, stage_B: Tensor, *noise_BNC: Tensor) -> Tensor:
        """The input of stage i: the canvas, noised as ContentInput says by what was drawn."""
        if self.content_input is ContentInput.CANVAS:
            return canvas_BNC
        fraction_B11 = (1 - stage_B / (self.geometry.K + 1)).view(-1, 1, 1)
        scaled_BNC = fraction_B11 * noise_BNC[0] * self.latent_scale
        if self.content_input is ContentInput.NOISED:
            return canvas_BNC + scaled_BNC
        return (1 - fraction_B11.square()).sqrt() * canvas_BNC + scaled_BNC

    def logit_input(
        self, predicted_BNC: Tensor, canvas_BNC: Tensor, noised_canvas_BNC: Tensor
    ) -> Tensor:
        """What gives the logits: the residual to the canvas, or the backbone's own output."""
        is_direct = self.prediction is Prediction.DIRECT
        return predicted_BNC - (noised_canvas_BNC if is_direct else canvas_BNC)

    def logits(self, residual_BNC: Tensor, order_BN: Tensor, stage: int) -> Tensor:
        """Token logits [B, 2^stage, V] from f(x_{i-1}) - x_{i-1}, averaged over each cluster."""
        sorted_BNC = residual_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(residual_BNC))
        mean_BnC = sorted_BNC.unflatten(1, (self.geometry.clusters(stage), -1)).mean(2)
        return self.head(mean_BnC / self.latent_scale)

    def loss(
        self, example: TrainingExample, intermediate_block: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Eq. 3: squared error of the final canvas in latent units, cross-entropy of the tokens.

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
        if self.prediction is Prediction.FINAL:
            final_BNC = example.final / self.latent_scale
            error = F.mse_loss(predicted_BNC / self.latent_scale, final_BNC)
            terms = {"canvas": error, **terms}
        return terms, intermediate_BNW

    def _cross_entropy(self, residual_BNC: Tensor, example: TrainingExample) -> Tensor:
        """Our choice: the mean within an image first, so that every stage weighs the same."""
        batch, stages = example.batch, example.stage.tolist()
        order_BN = leaf_order(batch.leaves)
        entropies = []
        for stage in sorted(set(stages)):
            rows = [image for image, own in enumerate(stages) if own == stage]
            row_b = torch.tensor(rows, device=residual_BNC.device)
            logits_bnV = self.logits(residual_BNC[row_b], order_BN[row_b], stage)
            target_bn = batch.content[row_b, self.geometry.stage_slice(stage)]
            loss_bn = F.cross_entropy(logits_bnV.mT.float(), target_bn, reduction="none")
            entropies.append(loss_bn.mean(1).sum())
        return torch.stack(entropies).sum() / len(stages)
