"""Whether a training of generators may write into a run directory, asked before it writes."""

from collections.abc import Iterator
from pathlib import Path

from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.sampling.generators import CLASSES, class_list
from nvg.store import Store
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.training.checkpoint import Checkpoints
from nvg.training.run_dir import RunError
from nvg.weights import read_header


def require_place(out: Path, parts: list[GeneratorKind], store: Store) -> None:
    """RunError where training `parts` on `store` into `out` would destroy what is there.

    That is: finished weights of a part without a checkpoint to go on from, a run of both generators
    where one is trained, or the other way round, and generators of another store, whose decoder and
    class names the new ones would replace.
    """
    single = parts[0].value if len(parts) == 1 else ""
    for name in ("", *GeneratorKind):
        if bool(name) != bool(single) and _steps(out, name):
            kind = f"of its {name} generator alone" if name else "of both generators"
            remedy = f"with --only {name}" if name else "without --only"
            raise RunError(
                f"{out} holds a run {kind}: continue it {remedy}, or choose another --out"
            )
    if not _steps(out, single):
        for part in parts:
            if (out / f"{part.value}.safetensors").exists():
                raise RunError(
                    f"{out} holds finished weights and no checkpoint: choose another --out"
                )
    if any(_generators(out)):
        _require_same_decoder(out, store)


def _steps(out: Path, name: str) -> list[int]:
    return Checkpoints(out / "checkpoints" / name).steps()


def _generators(out: Path) -> Iterator[bool]:
    """Whether there is something of each generator, finished or not."""
    yield bool(_steps(out, ""))
    for part in GeneratorKind:
        yield bool(_steps(out, part.value)) or (out / f"{part.value}.safetensors").exists()


def _require_same_decoder(out: Path, store: Store) -> None:
    decoder, classes = out / DETOKENIZER_FILE, out / CLASSES
    try:
        identity = read_header(decoder).get("tokenizer") if decoder.exists() else None
        names = class_list(classes) if classes.exists() else None
    except InputError:
        return  # damaged: what this training writes repairs it
    for found, wanted in (
        (identity, store.manifest.tokenizer),
        (names, list(store.manifest.classes)),
    ):
        if found is not None and found != wanted:
            raise RunError(
                f"{out} was trained on another store than {store.path}: choose another --out"
            )
