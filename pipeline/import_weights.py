"""The verb that turns published weights into a run directory."""

from enum import StrEnum
from pathlib import Path

from nvg.config import as_table, build, dump
from nvg.errors import InputError
from nvg.files import replacing
from nvg.foreign import read_tensors
from nvg.generator.config import GeneratorKind
from nvg.sampling.import_nvg import Imported, holds_generators, import_generators, save_generators
from nvg.tokenizer.autoencoder import INNER, Autoencoder, save_autoencoder
from nvg.tokenizer.import_nvg import import_autoencoder
from nvg.tokenizer.import_var import import_var
from nvg.weights import CheckpointError
from pipeline.recipe import Recipe, profiles


class Project(StrEnum):
    """Who published the weights."""

    VAR = "var"
    NVG = "nvg"
    """The authors' release."""


def write_run(file: Path, project: Project, out: Path, tokenizer: Path | None) -> str:
    """Convert a file into `out`; the line to print. Nothing is left when it does not fit.

    `tokenizer` is the autoencoder of generators whose file has none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists: choose another --out")
    holds_both = project is Project.NVG and holds_generators(read_tensors(file))
    if tokenizer is not None and not holds_both:
        raise InputError(f"--tokenizer is for generators of the release, which {file} is not")
    found: Imported | Autoencoder
    if holds_both:
        found = import_generators(file, tokenizer)
    else:
        found = import_var(file) if project is Project.VAR else import_autoencoder(file)
    try:
        with replacing(out) as partial:  # an empty folder may be there
            partial.mkdir()
            if isinstance(found, Imported):
                _write_generators(found, partial)
            else:
                save_autoencoder(found, partial)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
    return _summary(found, project, out)


def _write_generators(imported: Imported, out: Path) -> None:
    """The networks, their autoencoder, and the recipe that they are sampled and trained by."""
    parts = {part.value: as_table(shape.transformer) for part, shape in imported.shapes.items()}
    shape = next(iter(imported.shapes.values()))
    table = {
        "data": {"source": "folder"},
        "autoencoder": {"model": as_table(imported.autoencoder.config)},
        "generator": {**parts, "variant": as_table(shape.variant)},
    }
    save_generators(imported, out)
    save_autoencoder(imported.autoencoder, out / INNER)
    recipe = build(Recipe, profiles.expand({"profile": "release", **table}))
    dump(recipe, out / "config.toml")


def _summary(found: Imported | Autoencoder, project: Project, out: Path) -> str:
    """What was written, and what can be done with it."""
    if isinstance(found, Imported):
        shape = found.shapes[GeneratorKind.CONTENT]
        return (
            f"wrote {out}: d{shape.transformer.depth}, {shape.classes} classes, "
            f"{len(found.weights)} sets of weights; sample with `nvgctl sample {out} --png "
            f"samples.png`, train on with `nvgctl train generator ... --from {out}`; its tokenizer "
            f"is {out / INNER}"
        )
    config = found.config
    return (
        f"wrote {out}: {project.value}'s encoder and decoder for {config.image_size} pixels, "
        f"codebook {config.codebook_size} x {config.latent_dim}; fine-tune it with `nvgctl train "
        f"autoencoder ... --from {out}`, or tokenize with `--tokenizer {out}`"
    )
