"""A look at a tokenizer in training: measures per stage, a picture, a warning."""

import logging

import numpy as np
import torch

from nvg.files import write_atomic
from nvg.metrics.reconstruction import Reconstruction, reconstruction_metrics
from nvg.quantizer.residual import Layout
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.image_batch import ImageBatch, Images
from nvg.training.run_dir import Run
from nvg.view.figures import png_bytes, reconstruction_figure

log = logging.getLogger("nvg")

MOST_IMAGES, SHOWN = 256, 24
LEAST_EFFECT = 0.02  # of the codewords a stage could use: below, it is collapsing


class Validation:
    """Looks at the first images of a set."""

    def __init__(self, images: Images, run: Run) -> None:
        self.images, self.run = _First(images, MOST_IMAGES), run

    def look(self, model: Autoencoder, step: int) -> Reconstruction:
        """Measure; leave a line in the metrics and a picture in samples/; warn of a collapse."""
        found = reconstruction_metrics(model, self.images)
        rounded = {
            name: [round(each, 5) for each in value] if isinstance(value, list) else value
            for name, value in vars(found).items()
        }
        self.run.log(step, probe=rounded)
        for line in warnings_of(found, model.quantizer.layout, model.config.codebook_size):
            log.warning("step %d: %s", step, line)
        folder = self.run.directory / "samples"
        folder.mkdir(exist_ok=True)
        write_atomic(folder / f"step-{step:08d}.png", reconstruction_picture(model, self.images))
        return found


def reconstruction_picture(model: Autoencoder, images: Images) -> bytes:
    """A PNG of the first images above what is left of them."""
    shown = images.batch(np.arange(min(SHOWN, len(images))))
    originals, segments = shown.tensors(next(model.parameters()).device)
    leaves, content, _ = model.tokenize(originals, segments)
    return png_bytes(reconstruction_figure(originals, model.decode(content, leaves)))


def warnings_of(found: Reconstruction, layout: Layout, codebook_size: int) -> list[str]:
    """What looks like a codebook that collapses: stages that use next to nothing in effect.

    The first stage is left out: images of one kind may share their mean.
    """
    lines = []
    for stage, effect in enumerate(found.stage_perplexity):
        reach = min(codebook_size, found.images * layout.clusters(stage))
        if stage and effect < max(LEAST_EFFECT * reach, 1.5):
            lines.append(
                f"stage {stage} uses {effect:.1f} codewords in effect: its codes are collapsing; "
                "start from k-means, use ibq_steps or dead_code_after, or lower the learning rate"
            )
    if not torch.tensor(found.stage_psnr).isfinite().all():
        lines.append("reconstructions hold values that are no numbers")
    return lines


class _First:
    """The first so many of a set of images."""

    def __init__(self, images: Images, most: int) -> None:
        self.images, self.count = images, min(most, len(images))

    def __len__(self) -> int:
        return self.count

    def batch(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> ImageBatch:
        """Likewise."""
        return self.images.batch(rows)
