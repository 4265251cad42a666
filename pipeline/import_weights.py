"""The verb that turns published weights into a run directory."""

from enum import StrEnum
from pathlib import Path

from nvg.config import as_table, build, dump
from nvg.errors import InputError
from nvg.foreign import read_tensors
from nvg.sampling.import_nvg import Imported, holds_generators, import_generators, save_generators
from nvg.tokenizer.autoencoder import Autoencoder, save_autoencoder
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
    """Convert a file into `out`; the line to print. Nothing is written when it does not fit.

    `tokenizer` is the autoencoder of generators whose file has none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists: choose another --out")
    if project is Project.NVG and holds_generators(read_tensors(file)):
        return _write_generators(import_generators(file, tokenizer), out)
    if tokenizer is not None:
        raise InputError(f"{file} is an autoencoder: --tokenizer is for generators")
    model = import_var(file) if project is Project.VAR else import_autoencoder(file)
    return _write_autoencoder(model, project, out)


def _write_autoencoder(model: Autoencoder, project: Project, out: Path) -> str:
    save_autoencoder(model, out)
    config = model.config
    return (
        f"wrote {out}: {project.value}'s encoder and decoder for {config.image_size} pixels, "
        f"codebook {config.codebook_size} x {config.latent_dim}; fine-tune it with `nvgctl train "
        f"autoencoder ... --from {out}`, or tokenize with `--tokenizer {out}`"
    )


def _write_generators(imported: Imported, out: Path) -> str:
    parts = {part.value: as_table(shape.transformer) for part, shape in imported.shapes.items()}
    shape = next(iter(imported.shapes.values()))
    table = {
        "data": {"source": "folder"},
        "autoencoder": {"model": as_table(imported.autoencoder.config)},
        "generator": {**parts, "variant": as_table(shape.variant)},
    }
    recipe = build(Recipe, profiles.expand({"profile": "release", **table}))
    out.mkdir(parents=True, exist_ok=True)
    save_generators(imported, out)
    save_autoencoder(imported.autoencoder, out / "autoencoder")
    dump(recipe, out / "config.toml")
    depth = parts["content"]["depth"]
    return (
        f"wrote {out}: d{depth}, {shape.classes} classes, {len(imported.weights)} sets of weights; "
        f"sample with `nvgctl sample {out} --png samples.png`, train on with `nvgctl train "
        f"generator ... --from {out}`; its tokenizer is {out / 'autoencoder'}"
    )
