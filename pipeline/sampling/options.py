"""The options of the sampling verb."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvg.errors import InputError
from nvg.files import require_file_place
from nvg.sampling.config import BATCH, Compile


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of the verb: which images, and where they go; at least one place."""

    label: list[str] | None = None
    """Classes by name or id, all by default."""
    number: int = 8
    """Images of each class."""
    seed: int = 0
    settings: list[str] | None = None
    """Overrides of the run's recipe, such as sample.top_p=0.8."""
    weights: str = "ema"
    """ema, raw or best, see `open_generators`."""
    structure: Path | None = None
    """A user-drawn picture whose regions the first stages follow."""
    reference: str | None = None
    """STORE.vgs:ROW, or an image file."""
    keep: str | None = None
    """structure:M or all:M: what the first M stages take from it."""
    mask: Path | None = None
    """White where the reference is resampled."""
    tokenizer: Path | None = None
    """The autoencoder, for a reference image."""
    png: Path | None = None
    folder: Path | None = None
    npz: Path | None = None
    stages: Path | None = None
    batch_size: int = BATCH
    """Images sampled at once."""
    compile: str = Compile.AUTO
    """Whether the networks are compiled first: auto, on or off."""
    resume: bool = False
    """Skip the batches whose files are in `folder`."""
    workers: int | None = None
    """Actors of a Ray cluster, which share the images out."""
    address: str | None = None
    """Of that cluster."""

    def absolute(self) -> "SampleOptions":
        """These with paths that hold in any folder."""
        found: dict[str, Any] = {
            name: path.absolute() for name, path in vars(self).items() if isinstance(path, Path)
        }
        if self.reference and "://" not in self.reference:
            found["reference"] = os.path.abspath(self.reference)
        return replace(self, **found)

    def check(self) -> None:
        """InputError for options that exclude each other, before any work."""
        if not (self.png or self.folder or self.npz or self.stages):
            raise InputError("nothing to write: name --png, --folder, --npz or --stages")
        if self.structure and self.reference:
            raise InputError("--structure and --reference both give structure: name one")
        for name in ("keep", "mask", "tokenizer"):
            if (
                getattr(self, name)
                and not self.reference
                and (name != "keep" or not self.structure)
            ):
                raise InputError(f"--{name} says what is done with a --reference: name one")
        for path in (self.png, self.npz):
            if path:
                require_file_place(path)
        for path in (self.folder, self.stages):
            if path and path.is_file():
                raise InputError(f"{path} is a file: name a folder")
        if self.resume and not self.folder:
            raise InputError("--resume goes on with the files of a --folder: name it")
        if self.address and self.workers is None:
            raise InputError("--address names a Ray cluster for --workers: say how many")
