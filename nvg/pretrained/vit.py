"""Frozen vision transformers of the library timm, filled from a local file of weights.

Legend: B image of a batch, N position, F feature channel, D row or column of pixels or of the
grid.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.errors import InputError
from nvg.foreign import why_unreadable
from nvg.pretrained.names import require_weights


class VisionTransformer(nn.Module):
    """A frozen transformer that sees images at `grid` x `grid` patches, whatever their size.

    InputError when timm is missing, knows no such model, or the weights are not its own.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, weights: Path, grid: int) -> None:
        super().__init__()
        self.backbone = _filled(model, weights, grid)
        self.size: int = grid * self.backbone.patch_embed.patch_size[0]
        self.width: int = self.backbone.num_features
        facts = self.backbone.pretrained_cfg
        # On the scale [-1, 1] of our images.
        self.register_buffer("mean", 2 * torch.tensor(facts["mean"]).view(1, 3, 1, 1) - 1)
        self.register_buffer("std", 2 * torch.tensor(facts["std"]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "VisionTransformer":
        """Stays in evaluation whatever holds it."""
        return super().train(False)

    def prepare(self, images: Tensor) -> Tensor:
        """Images [B, 3, D, D] in [-1, 1] at the model's own size and scale."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bicubic", antialias=True)
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Normalised patch tokens [B, N, F], in row-major order."""
        tokens: Tensor = self.backbone.forward_features(self.prepare(images))
        return tokens[:, self.backbone.num_prefix_tokens :]

    def readouts(self, images: Tensor, count: int) -> list[Tensor]:
        """Patch tokens plus the class token [B, N, F] at `count` places from start to end.

        Evenly: before the first block, after the last. Gradients reach the images.
        """
        vit, found = self.backbone, []
        depth, prefix = len(vit.blocks), vit.num_prefix_tokens
        passed = {round(depth * n / (count - 1)) for n in range(count)}
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(self.prepare(images))))
        for number, block in enumerate((*vit.blocks, nn.Identity())):
            if number in passed:
                found.append(tokens[:, prefix:] + tokens[:, :1])
            tokens = block(tokens)
        return found


def timm_library(needed_by: str = "features of a vision transformer", extra: str = "vision") -> Any:
    """The module timm; InputError that names the extra to install when it is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit, on import
        try:
            import timm

            return timm
        except ImportError:
            raise InputError(f'{needed_by}: timm is missing: pip install -e ".[{extra}]"') from None


def require_vit(model: str, weights: Path) -> None:
    """InputError when timm is missing or knows no such model, or the file cannot be its weights."""
    if not timm_library().is_model(model):
        raise InputError(f"timm knows no model {model!r}: see timm.list_models()")
    require_weights(weights, f"the weights of {model}")


def _filled(model: str, weights: Path, grid: int) -> Any:
    """The model at its grid, positions resampled to it by timm."""
    require_vit(model, weights)
    timm = timm_library()
    plain = timm.create_model(model, num_classes=0)
    vit = timm.create_model(model, num_classes=0, img_size=grid * plain.patch_embed.patch_size[0])
    state = None
    try:
        state = timm.models.load_state_dict(str(weights))
        fitting = timm.models.vision_transformer.checkpoint_filter_fn(state, vit)
        missing = vit.load_state_dict(fitting, strict=False).missing_keys
    except Exception as error:  # timm lets through whatever a file's contents cause
        reason = "it holds those of another network" if state else why_unreadable(weights, error)
        raise InputError(f"{weights} does not hold the weights of {model}: {reason}") from error
    if missing:
        raise InputError(
            f"{weights} does not hold the weights of {model}: it lacks {missing[0]} and "
            f"{len(missing) - 1} more"
        )
    return vit
