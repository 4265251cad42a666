"""Content generator (Sec. 2.2.2, A.4): canvas + structure -> final canvas -> tokens of a stage.

Legend: B image of a batch, N position, n cluster of a stage, C channel, V code, K structure
channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.generator.backbone import IMAGE_KIND, Backbone, TransformerConfig
from nvg.generator.variants import ContentInput, Prediction
from nvg.geometry import Geometry, leaf_order, mixed_bit_embedding


class ContentGenerator(nn.Module):
    """Predicts the final canvas from the current one; its cluster residuals give token logits.

    Our choices: the network's output is added to the canvas it got, and canvases are measured in
    units of `latent_scale` (the codebook's root mean square), so that neither the size of a
    tokenizer's latents nor the copying of the canvas has to be learnt.
    """

    def __init__(
        self,
        config: TransformerConfig,
        geometry: Geometry,
        classes: int,
        codebook_size: int,
        latent_dim: int,
        latent_scale: float,
        noise: ContentInput = ContentInput.CANVAS,
        prediction: Prediction = Prediction.FINAL,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.latent_scale = latent_scale
        self.noise, self.prediction = noise, prediction
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
        tap: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """The same, and the trunk's tokens after block `tap` [B, N, W]."""
        ids = self.backbone.token_ids(embedding_BNK, IMAGE_KIND)
        condition = self.backbone.condition(label_B, stage_B)
        residual_BNC, tapped_BNW = self.backbone(
            canvas_BNC / self.latent_scale, label_B, condition, ids, tap
        )
        return canvas_BNC + residual_BNC * self.latent_scale, tapped_BNW

    def noised(self, canvas_BNC: Tensor, noise_BNC: Tensor, stage_B: Tensor) -> Tensor:
        """The input of stage i that the switch ContentInput asks for, from N(0, 1) noise."""
        if self.noise is ContentInput.CANVAS:
            return canvas_BNC
        share_B11 = (1 - stage_B / (self.geometry.K + 1)).view(-1, 1, 1)
        noise_BNC = share_B11 * noise_BNC * self.latent_scale
        if self.noise is ContentInput.NOISED:
            return canvas_BNC + noise_BNC
        return (1 - share_B11.square()).sqrt() * canvas_BNC + noise_BNC

    def logit_input(self, predicted_BNC: Tensor, canvas_BNC: Tensor, seen_BNC: Tensor) -> Tensor:
        """What logits are made of: the residual to the canvas, or directly the trunk's output."""
        return predicted_BNC - (canvas_BNC if self.prediction is Prediction.FINAL else seen_BNC)

    def logits(self, residual_BNC: Tensor, order_BN: Tensor, stage: int) -> Tensor:
        """Token logits [B, 2^stage, V] from f(x_{i-1}) - x_{i-1}, averaged over each cluster."""
        sorted_BNC = residual_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(residual_BNC))
        mean_BnC = sorted_BNC.unflatten(1, (self.geometry.clusters(stage), -1)).mean(2)
        return self.head(mean_BnC / self.latent_scale)


def content_loss(
    model: ContentGenerator,
    canvas: Tensor,
    final: Tensor,
    leaves: Tensor,
    content: Tensor,
    label: Tensor,
    stages: list[int],
    noise: Tensor | None = None,
    tap: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 3: (squared error of the final canvas in latent units, cross-entropy of the tokens).

    Third are the trunk's tokens after block `tap`, for alignment.

    canvas, final and noise [B, N, C], leaves [B, N], content [B, 2N-1], label [B]; stages[b] is the
    stage that image b learns. Direct prediction has no canvas, and no error of it. Our choice: the
    cross-entropy is averaged within an image first, so that
    every stage weighs the same.
    """
    stage_B = torch.tensor(stages, device=canvas.device)
    embedding = mixed_bit_embedding(leaves, stage_B, model.geometry.K)
    seen = canvas if noise is None else model.noised(canvas, noise, stage_B)
    predicted, tapped = model.predict(seen, embedding, label, stage_B, tap)
    residual, order = model.logit_input(predicted, canvas, seen), leaf_order(leaves)
    entropies = []
    for stage in sorted(set(stages)):
        rows = torch.tensor([b for b, s in enumerate(stages) if s == stage], device=canvas.device)
        logits_BnV = model.logits(residual[rows], order[rows], stage)
        target_Bn = content[rows, model.geometry.stage_slice(stage)]
        loss_Bn = F.cross_entropy(logits_BnV.mT.float(), target_Bn, reduction="none")
        entropies.append(loss_Bn.mean(1).sum())
    error = F.mse_loss(predicted / model.latent_scale, final / model.latent_scale)
    if model.prediction is Prediction.DIRECT:
        error = error * 0
    return error, torch.stack(entropies).sum() / len(stages), tapped
