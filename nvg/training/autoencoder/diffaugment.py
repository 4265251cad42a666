"""What a discriminator sees instead of plain images: DiffAugment (Zhao et al. 2020), and a blur.

Images [B, 3, D, D] in [-1, 1]; draws are made on the CPU, so that a seed fixes them anywhere.

Legend: B image of a batch, C channel, D row or column of pixels or of the grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nvg.host_copy import sent

TRANSLATION = 0.125  # of the side, at most, to either side
CUTOUT = 0.2  # of the side


def augment(images: Tensor) -> Tensor:
    """Colour, translation and cut-out, drawn for each image."""
    return cut_out(translate(recolour(images)))


def recolour(images: Tensor) -> Tensor:
    """Brightness +-0.5, saturation 0..2, contrast 0.5..1.5."""
    brightness, saturation, contrast = _uniform(3, images)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translate(images: Tensor) -> Tensor:
    """Moved by whole pixels, zeros move in."""
    batch, _, side, _ = images.shape
    most = round(side * TRANSLATION)
    (shift_2B,) = sent([torch.randint(-most, most + 1, (2, batch))], images.device)
    padded = F.pad(images, (most,) * 4)
    place_D = torch.arange(side, device=images.device)
    row_BD, column_BD = (place_D + most + shift.unsqueeze(1) for shift in shift_2B)
    image_B = torch.arange(batch, device=images.device).view(-1, 1, 1)
    found = padded.permute(0, 2, 3, 1)[image_B, row_BD.unsqueeze(2), column_BD.unsqueeze(1)]
    return found.permute(0, 3, 1, 2)


def cut_out(images: Tensor) -> Tensor:
    """A square of zeros somewhere, perhaps over the edge."""
    batch, _, side, _ = images.shape
    size = round(side * CUTOUT)
    (centre_2B1,) = sent([torch.randint(0, side + 1, (2, batch, 1))], images.device)
    place_D = torch.arange(side, device=images.device)
    row_BD, column_BD = (
        (place_D - c + size // 2 >= 0) & (place_D - c + size // 2 < size) for c in centre_2B1
    )
    hole_BDD = row_BD.unsqueeze(2) & column_BD.unsqueeze(1)
    return images.masked_fill(hole_BDD.unsqueeze(1), 0)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian of `sigma` pixels, edges mirrored; as it is below a tenth of a pixel."""
    if sigma < 0.1:
        return images
    radius = min(round(3 * sigma), images.shape[-1] - 1)
    offset = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (weight / weight.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel.unsqueeze(2), groups=images.shape[1])
    return F.conv2d(across, kernel.unsqueeze(3), groups=images.shape[1])


def _uniform(count: int, images: Tensor) -> Tensor:
    """So many numbers in 0..1 for each image, [count, B, 1, 1, 1]."""
    return sent([torch.rand(count, len(images), 1, 1, 1)], images.device)[0]
