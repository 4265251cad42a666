"""A request: all that sampled images depend on, as one value, from and to JSON.

The studio, its files and its commands share it. What it names by path is opened by whoever trusts
it: reading one opens nothing.

Legend: N position, T token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import torch

from nvg.config import ConfigError, as_table, build
from nvg.errors import InputError
from nvg.files import parse_json
from nvg.geometry import Geometry
from nvg.sampling.config import BATCH, SamplerConfig
from nvg.sampling.control import Condition, Control, edit_region, keep_stages, require_stages
from nvg.sequence import Sequences
from pipeline.sampling.references import drawing_control, require_codes, token_sequences

Kind = TypeVar("Kind")

FORMAT, VERSION = "nvg-request", 1
MOST_IMAGES = BATCH  # of a request: one batch, so that a command samples it in the same one
MOST_SEED = 2**53 - 1  # what JSON's readers keep exactly
MOST_STEPS = 200  # of the flow, in a stage


class Kept(StrEnum):
    """What a stage takes from a reference."""

    ALL = "all"
    STRUCTURE = "structure"
    ANEW = "anew"
    """Nothing: it is sampled."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A structure drawn on the latent grid."""

    regions: tuple[int, ...]
    """Region of each position [N], from 0."""
    stages: int | None = None
    """How many first stages follow it; None: as many as it determines."""

    def __post_init__(self) -> None:
        if not all(0 <= region <= 255 for region in self.regions):
            raise ValueError("regions are numbered 0..255")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image to keep parts of: a row of a store, or tokens."""

    store: str | None = None
    row: int | None = None
    leaves: tuple[int, ...] | None = None
    """[N]."""
    content: tuple[int, ...] | None = None
    """[2N-1]."""
    tokenizer: str | None = None
    """Fingerprint of the tokenizer whose tokens they are."""
    name: str = ""
    """For people."""

    def __post_init__(self) -> None:
        given = {name for name, value in vars(self).items() if value is not None} - {"name"}
        if given not in ({"store", "row"}, {"leaves", "content", "tokenizer"}):
            raise ValueError("a reference has store and row, or leaves, content and tokenizer")
        if self.row is not None and self.row < 0:
            raise ValueError(f"row must be at least 0, not {self.row}")

    @property
    def is_row(self) -> bool:
        """Whether it is a row of a store, and not tokens."""
        return self.store is not None

    def sequences(self, identity: str, geometry: Geometry, codes: int) -> Sequences:
        """Its tokens [1, ...]; InputError where they are of another tokenizer or no image."""
        leaves, content = self.leaves or (), self.content or ()
        found = token_sequences(leaves, content, self.tokenizer or "", identity)
        if found.leaves.shape[1] != geometry.positions:
            raise InputError(
                f"the reference has {found.leaves.shape[1]} positions, the run {geometry.positions}"
            )
        return require_codes(found, codes)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sampled, by which run, and what is given instead."""

    run: str
    classes: tuple[int, ...] = ()
    """Class ids, `number` images each; empty for a run without classes."""
    number: int = 1
    seed: int = 0
    weights: str = "ema"
    checkpoint: int | None = None
    settings: SamplerConfig = field(default_factory=SamplerConfig)
    drawing: Drawing | None = None
    reference: Reference | None = None
    keep: tuple[Kept, ...] | None = None
    """Of the reference, what each stage takes."""
    region: tuple[int, ...] | None = None
    """1 where the reference is sampled anew, 0 where it is kept [N]."""
    format: str = FORMAT
    version: int = VERSION

    def __post_init__(self) -> None:
        if (self.format, self.version) != (FORMAT, VERSION):
            raise ValueError(
                f"format {self.format!r}, version {self.version}, is not {FORMAT!r}, {VERSION}"
            )
        if self.number < 1:
            raise ValueError(f"number must be at least 1, not {self.number}")
        if self.count > MOST_IMAGES:
            raise ValueError(f"{self.count} images are asked for: a request has 1..{MOST_IMAGES}")
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed must be in 0..2^53-1, not {self.seed}")
        if self.settings.flow_steps > MOST_STEPS:
            raise ValueError(f"flow_steps must be at most {MOST_STEPS} in a request")
        if self.weights not in ("ema", "raw", "best"):
            raise ValueError(f"weights must be ema, raw or best, not {self.weights!r}")
        self._check_control()

    def _check_control(self) -> None:
        if self.drawing and self.reference:
            raise ValueError("drawing and reference both give structure: name one")
        if self.reference is None:
            if self.keep or self.region:
                raise ValueError("keep and region say what is done with a reference: name one")
            return
        if (self.keep is None) == (self.region is None):
            raise ValueError("a reference needs either keep or region")
        if self.keep is not None:
            first = len(self.kept)
            if not first or any(kept is not Kept.ANEW for kept in self.keep[first:]):
                raise ValueError(
                    "keep begins with all or structure, and the first anew makes the rest anew"
                )
        if self.region and not set(self.region) <= {0, 1}:
            raise ValueError("region has 1 where it is sampled anew, else 0")

    @property
    def count(self) -> int:
        """How many images it asks for."""
        return max(len(self.classes), 1) * self.number

    @property
    def labels(self) -> list[int]:
        """The class id of each image, -1 for none."""
        return [label for label in self.classes or (-1,) for _ in range(self.number)]

    @property
    def kept(self) -> list[Condition]:
        """What the first stages keep of the reference, up to the first that is sampled."""
        keep = self.keep or ()
        first = keep.index(Kept.ANEW) if Kept.ANEW in keep else len(keep)
        return [Condition(kept.value) for kept in keep[:first]]

    def require_fit(self, classes: int, geometry: Geometry) -> None:
        """InputError where it is not for a run with so many classes and this geometry."""
        if bool(classes) != bool(self.classes):
            raise InputError("name a class" if classes else "the run has no classes: name none")
        for label in self.classes:
            if not 0 <= label < classes:
                raise InputError(f"there is no class {label}: the run has 0..{classes - 1}")
        sizes = {"region": self.region, "keep": self.keep}
        wanted = {"region": geometry.positions, "keep": geometry.stages}
        sizes |= {"regions": self.drawing.regions if self.drawing else None}
        wanted |= {"regions": geometry.positions}
        for name, values in sizes.items():
            if values is not None and len(values) != wanted[name]:
                raise InputError(f"{name} has {len(values)} entries, the run needs {wanted[name]}")
        if self.drawing and self.drawing.stages is not None:
            require_stages(self.drawing.stages, geometry)

    def control(self, reference: Sequences | None, geometry: Geometry) -> Control | None:
        """What is given instead of sampled; `reference` is the image that `reference` names."""
        if self.drawing:
            regions_N = np.array(self.drawing.regions, np.int32)
            return drawing_control(regions_N, self.drawing.stages, geometry, self.count)
        if reference is None:
            return None
        if self.region is not None:
            marked_N = torch.tensor(self.region, dtype=torch.bool)
            return edit_region(reference, geometry, marked_N, self.count)
        return keep_stages(reference, geometry, self.kept, self.count)

    def as_json(self) -> dict[str, Any]:
        """Everything it says, as JSON has it; `read_request` reads it back."""
        return as_table(self)


def read_request(table: object, **known: Any) -> Request:
    """A request from what a JSON document holds, strictly; InputError.

    `known` takes the place of keys that it leaves out; `settings` those of missing settings.
    """
    if isinstance(table, Mapping):
        given = {name: _without_nulls(each) for name, each in _without_nulls(table).items()}
        settings = given.get("settings", {})
        if isinstance(settings, Mapping):
            given["settings"] = {**known.pop("settings", {}), **settings}
        table = {**known, **given}
    return _built(Request, table, "request")


def read_reference(table: object) -> Reference:
    """A reference alone, as strictly."""
    return _built(Reference, table, "reference")


def read_drawing(table: object) -> Drawing:
    """A drawing alone, as strictly."""
    return _built(Drawing, table, "drawing")


def _built(kind: type[Kind], table: object, name: str) -> Kind:
    if not isinstance(table, Mapping):
        raise InputError(f"a {name} is a JSON object")
    try:
        return build(kind, _without_nulls(table))
    except ConfigError as error:
        said = str(error).removeprefix("recipe: ").replace("recipe", f"the {name}", 1)
        raise InputError(f"{name}: {said}") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: each for name, each in value.items() if each is not None}
    return value


def json_of(data: bytes | str) -> Any:
    """A JSON document; InputError where it is none (`nvg.files.parse_json`)."""
    try:
        return parse_json(data)
    except ValueError:
        raise InputError("this is not JSON") from None
