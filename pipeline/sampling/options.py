"""The options of the sampling verb."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvg.errors import InputError
from nvg.files import require_file_place
from nvg.sampling.config import BATCH, Compile
from nvg.view.formats import require_picture

# Options that are short for a key of [sample].
SHORT = {
    "cfg_scale": "content_guidance",
    "structure_cfg_scale": "structure_guidance",
    "top_p": "top_p",
    "top_k": "top_k",
    "temperature": "temperature",
    "steps": "flow_steps",
}


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of the verb: which images, and where they go."""

    label: list[str] | None = None
    """Classes as `class_ids` reads them, all by default."""
    number: int = 8
    """Images of each class."""
    seed: int = 0
    settings: list[str] | None = None
    """Overrides of the run's recipe, such as sample.top_p=0.8."""
    cfg_scale: float | None = None
    structure_cfg_scale: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    temperature: float | None = None
    steps: int | None = None
    weights: str = "ema"
    """ema, raw or best, see `open_generators`."""
    checkpoint: int | None = None
    """The step of a checkpoint instead of the finished weights."""
    yes: bool = False
    """Whether more images than are sampled unasked are wanted indeed."""
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
    """The picture; `default_picture` where nothing else is written."""
    tile: int | None = None
    """Side of an image in the pictures, in pixels; see `nvg.view.figures.shown_side`."""
    folder: Path | None = None
    npz: Path | None = None
    stages: Path | None = None
    device: str | None = None
    """What torch calls the device; the accelerator where there is one."""
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
    trust: bool = False
    """Import a structure builder that the file of `tokenizer` alone names."""

    def absolute(self) -> "SampleOptions":
        """These with paths that hold in any folder."""
        found: dict[str, Any] = {
            name: path.absolute() for name, path in vars(self).items() if isinstance(path, Path)
        }
        if self.reference and "://" not in self.reference:
            found["reference"] = os.path.abspath(self.reference)
        return replace(self, **found)

    @property
    def overrides(self) -> list[str]:
        """The settings, then those that were given by a short option."""
        short = ((key, getattr(self, name)) for name, key in SHORT.items())
        given = [f"sample.{key}={value}" for key, value in short if value is not None]
        return [*(self.settings or ()), *given]

    @property
    def writes(self) -> bool:
        """Whether a place to write to is named."""
        return any((self.png, self.folder, self.npz, self.stages))

    @property
    def others(self) -> dict[str, Any]:
        """What the images depend on besides classes, number and seed; empty by default."""
        names = ("structure", "reference", "keep", "mask", "checkpoint")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        found |= {"settings": self.overrides} if self.overrides else {}
        return found | ({"weights": self.weights} if self.weights != "ema" else {})

    def check(self) -> None:
        """InputError for options that exclude each other, before any work."""
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
        if self.png:
            require_picture(self.png)
        if self.checkpoint is not None and self.weights == "best":
            raise InputError("--checkpoint and --weights best both name a step: name one")
        if self.device and self.workers is not None:
            raise InputError("--device is for one process: leave it out, or --workers")
        for path in (self.folder, self.stages):
            if path and path.is_file():
                raise InputError(f"{path} is a file: name a folder")
        if self.resume and not self.folder:
            raise InputError("--resume goes on with the files of a --folder: name it")
