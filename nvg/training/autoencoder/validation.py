"""Validation of a tokenizer in training: measures per stage, a picture, a warning."""

import logging

import numpy as np
import torch

from nvg.distributed import World
from nvg.files import write_atomic
from nvg.metrics.reconstruction import Reconstruction, shared_metrics
from nvg.quantizer.residual import Layout
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.image_batch import ImageBatch, Images
from nvg.training.run_dir import Run
from nvg.view.figures import png_bytes, reconstruction_figure

log = logging.getLogger("nvg")

MOST_IMAGES, SHOWN = 256, 24
MIN_PERPLEXITY = 0.02  # as a fraction of the attainable maximum: below, a stage is collapsing


class Validation:
    """Measures a model on the first images of a set."""

    def __init__(self, images: Images, run: Run, world: World) -> None:
        self.images, self.run, self.world = _First(images, MOST_IMAGES), run, world

    def look(self, model: Autoencoder, step: int) -> Reconstruction | None:
        """Measure; log a line of metrics, save a picture in samples/, warn of a collapse.

        Processes share the images out, and the main one has the measures. Collective.
        """
        found = shared_metrics(model, self.images, self.world)
        if found is None:
            return None
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
    """A PNG of the first images above their reconstructions."""
    shown = images.batch(np.arange(min(SHOWN, len(images))))
    originals, segments = shown.tensors(next(model.parameters()).device)
    leaves, content, _ = model.tokenize(originals, segments)
    return png_bytes(reconstruction_figure(originals, model.decode(content, leaves)))


def warnings_of(found: Reconstruction, layout: Layout, codebook_size: int) -> list[str]:
    """Signs of a codebook that collapses: stages of low perplexity.

    The first stage is left out: images of one kind may share their mean.
    """
    lines = []
    for stage, perplexity in enumerate(found.stage_perplexity):
        attainable = min(codebook_size, found.images * layout.clusters(stage))
        if stage and perplexity < max(MIN_PERPLEXITY * attainable, 1.5):
            lines.append(
                f"stage {stage} has a perplexity of {perplexity:.1f} codes: it is collapsing; "
                "start from k-means, use ibq_steps or dead_code_after, or lower the learning rate"
            )
    if not torch.tensor(found.stage_psnr).isfinite().all():
        lines.append("reconstructions hold non-finite values")
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
