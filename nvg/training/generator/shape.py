"""The shape of a generator, and the scale of the canvases it is trained on."""

from dataclasses import replace
from pathlib import Path

import torch

from nvg.choices import CanvasScale
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig, Variant
from nvg.loader.first_views import first_views, spread
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.generators import weights_file
from nvg.store import Store
from nvg.training.run_dir import RunError
from nvg.weights import read_config, read_header

SCALE_ROWS, SCALE_BATCH = 4096, 64  # images that the scale is measured on


def shape_of(
    transformer: TransformerConfig,
    store: Store,
    quantizer: MultiGranularityQuantizer,
    variant: Variant,
) -> GeneratorShape:
    """The shape of one generator for a store and its quantizer."""
    codes, channels = quantizer.codebook.shape
    is_per_stage = variant.canvas_scale is CanvasScale.STAGE
    return GeneratorShape(
        transformer=transformer,
        grid=store.geometry.grid,
        classes=len(store.manifest.classes),
        codebook_size=codes,
        latent_dim=channels,
        latent_scale=float(quantizer.codebook.square().mean().sqrt()),
        canvas_rms=canvas_rms(store, quantizer) if is_per_stage else (),
        variant=variant,
    )


def shape_to_start_from(
    run: Path, part: GeneratorKind, transformer: TransformerConfig, variant: Variant, store: Store
) -> GeneratorShape:
    """The shape of a finished run's generator, to train it on; its scales stay as they were.

    It has the classes of the store, whichever the run's were (`nvg/training/generator/classes.py`).
    RunError where it is not the one that the recipe asks for, or not for this store's tokens.
    """
    file = weights_file(run, part)
    if not file.exists():
        raise RunError(f"{run} holds no {file.name}: --from names a finished run")
    found, manifest = read_config(GeneratorShape, file), store.manifest
    if read_header(file).get("tokenizer", "") != manifest.tokenizer:
        raise RunError(
            f"{file} was trained on tokens of another tokenizer than {store.path}: tokenize with "
            "the autoencoder that it belongs to"
        )
    own = replace(
        transformer, dropout=found.transformer.dropout, drop_path=found.transformer.drop_path
    )
    pairs = {"transformer": (own, found.transformer), "variant": (variant, found.variant)}
    different = [name for name, (wanted, made) in pairs.items() if wanted != made]
    if different:
        raise RunError(
            f"{file} cannot be trained on by this recipe, its {' and '.join(different)} differ: "
            f"take them from {run / 'config.toml'}"
        )
    return replace(found, transformer=transformer, classes=len(manifest.classes))


@torch.no_grad()
def canvas_rms(store: Store, quantizer: MultiGranularityQuantizer) -> tuple[float, ...]:
    """Root mean square of the canvas before each stage, and of the final one.

    Of the first view of images from all over a store; 1 for the empty canvas, and for zeros.
    """
    rows, device = spread(store.ok_rows(), SCALE_ROWS), quantizer.codebook.device
    square_S = torch.zeros(store.geometry.stages, dtype=torch.float64)
    for batch in first_views(store, rows, SCALE_BATCH, device):
        canvases = quantizer.canvases(batch.content, batch.leaves)
        square_S += torch.stack([c.double().square().mean((1, 2)).sum() for c in canvases]).cpu()
    found = (square_S / max(len(rows), 1)).sqrt().tolist()
    return (1.0, *(value or 1.0 for value in found))
