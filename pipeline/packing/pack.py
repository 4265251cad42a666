"""The verb that makes a folder to upload out of a run."""

from dataclasses import dataclass
from pathlib import Path

from nvg.errors import AGAIN, InputError, full_disk_named
from nvg.fetch.listing import FILES, list_bytes
from nvg.files import replacing
from nvg.sampling.generators import CLASSES, load_generators, read_classes
from nvg.store.lock import one_at_a_time
from nvg.tokenizer.autoencoder import (
    AUTOENCODER_FILE,
    INNER,
    autoencoder_config,
    autoencoder_file,
    load_autoencoder,
)
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.weights import fingerprint, read_config, read_header
from pipeline.packing.card import GRID, model_card
from pipeline.packing.parts import Parts, files_of, find_parts, inner_tokenizer, size_of
from pipeline.run_weights import first_samples


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """The options of the verb."""

    out: Path
    tokenizer: Path | None = None
    """Autoencoder that generators are packed with, by default the one in their run."""
    checkpoint: int | None = None
    """Step of a checkpoint instead of the finished weights."""
    licence: str = ""
    """Under which the files are given, for the card."""


def pack_run(run: Path, options: PackOptions) -> list[str]:
    """Write the pack of a run; the lines to print.

    InputError for a run that is unfinished, a tokenizer of others, and a place that is taken.
    """
    out = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists: choose another --out")
    parts = find_parts(run, options.checkpoint)
    tokenizer = _tokenizer(parts, options.tokenizer)
    before = size_of(run)
    try:
        with (
            full_disk_named(out, AGAIN),
            one_at_a_time(out),
            replacing(out) as partial,
        ):  # an empty folder may be there
            partial.mkdir()
            _fill(partial, parts, tokenizer, out.name, options.licence)
    except OSError as error:
        what = f"{out} cannot be written"
        if isinstance(error, FileNotFoundError) and not str(error.filename).startswith(f"{out}."):
            what = f"{error.filename} is gone, as when a training writes there: {AGAIN}"
        raise InputError(f"{what}: {error.strerror or error}") from error
    count = sum(1 for _ in files_of(out))
    size = f"{size_of(out) / 1e6:,.1f} MB, of the run's {before / 1e6:,.1f} MB"
    return [
        f"wrote {out}: {count} files, {size}",
        f"upload it as it is; `{FILES}` and `README.md` belong to it",
    ]


def _fill(out: Path, parts: Parts, tokenizer: Path | None, name: str, licence: str) -> None:
    parts.write(out)
    classes = read_classes(out) if (out / CLASSES).exists() else []
    if tokenizer:
        (out / INNER).mkdir()
        inner = Parts(tokenizer, {AUTOENCODER_FILE: autoencoder_file(tokenizer)}, None)
        inner.write(out / INNER)
        (out / INNER / FILES).write_bytes(list_bytes(out / INNER))
    if parts.has_generators:
        config = read_config(AutoencoderConfig, out / DETOKENIZER_FILE)
        generators = load_generators(out)  # by the pack's own weights
        (out / GRID).write_bytes(first_samples(generators, generators.settings))
    else:
        config = autoencoder_config(out)
    card = model_card(name, parts, config, classes, licence, tokenizer is not None)
    (out / "README.md").write_text(card, encoding="utf-8")
    (out / FILES).write_bytes(list_bytes(out))


def _tokenizer(parts: Parts, given: Path | None) -> Path | None:
    """The autoencoder's run that goes into a pack; InputError where it is not the generators'."""
    if not parts.has_generators:
        if given:
            raise InputError("--tokenizer is for generators: leave it out, this is a tokenizer")
        return None
    found = given or inner_tokenizer(parts.run)
    if found is None:
        return None
    wanted = read_header(parts.run / DETOKENIZER_FILE).get("tokenizer", "")
    own = fingerprint(load_autoencoder(found))
    if own != wanted:
        raise InputError(
            f"{found} is tokenizer {own[:12]}, and {parts.run} was trained on tokens of "
            f"{wanted[:12]}: name that one"
        )
    return found
