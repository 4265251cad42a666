"""What the studio computes with: one run's networks, its tokenizer, one store.

Only what the command line names is opened. A request that names anything else is refused.
"""

import dataclasses
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg import __version__
from nvg.errors import InputError
from nvg.fetch import named
from nvg.format.base import StoreError
from nvg.geometry import Geometry
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import Generators
from nvg.sequence import Sequences
from nvg.store import Store, open_store
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.view.figures import Film, stored_film
from pipeline.run_weights import open_generators, split_checkpoint
from pipeline.sampling.references import open_tokenizer, row_sequences
from pipeline.sampling.repeat import command_of, files_of, python_of
from pipeline.sampling.request import MOST_IMAGES, MOST_STEPS, Reference, Request, read_request

MOST_REGIONS = 8  # of a drawing


@dataclass(frozen=True, kw_only=True)
class StudioOptions:
    """What the command line names."""

    run: Path
    store: str | None = None
    tokenizer: Path | None = None
    """The autoencoder, for photos."""
    weights: str = "ema"
    device: str | None = None
    trust: bool = False


@dataclass(frozen=True)
class Models:
    """All that is open."""

    options: StudioOptions
    checkpoint: int | None
    generators: Generators
    tokenizer: Autoencoder | None
    store: Store | None

    @property
    def geometry(self) -> Geometry:
        """The grid and stages of the run."""
        return self.generators.detokenizer.config.geometry

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generators.detokenizer.quantizer.codebook.device

    def facts(self) -> dict[str, Any]:
        """What the page is told at first."""
        generators, geometry = self.generators, self.geometry
        kinds = {f.name: f.type for f in dataclasses.fields(SamplerConfig)}
        choices = {
            name: [each.value for each in kind]
            for name, kind in kinds.items()
            if isinstance(kind, type) and issubclass(kind, Enum)
        }
        return {
            "run": named(self.options.run),
            "version": __version__,
            "device": str(self.device),
            "tokenizer": generators.tokenizer,
            "classes": generators.classes,
            "grid": geometry.grid,
            "K": geometry.K,
            "stages": geometry.stages,
            "image_size": generators.detokenizer.config.image_size,
            "codebook": generators.detokenizer.config.codebook_size,
            "defaults": dataclasses.asdict(generators.settings),
            "choices": choices,
            "limits": {"images": MOST_IMAGES, "regions": MOST_REGIONS, "flow_steps": MOST_STEPS},
            "photo": self.tokenizer is not None,
            "store": self._store_facts(),
        }

    def _store_facts(self) -> dict[str, Any] | None:
        store = self.store
        if store is None:
            return None
        usable = store.manifest.tokenizer == self.generators.tokenizer
        return {"path": store.path, "rows": len(store), "usable": usable}

    def complete(self, table: object) -> Request:
        """A request that a page sends, for this run; InputError for one that is not."""
        request = read_request(table, **self._own())
        own = (named(self.options.run), self.options.weights, self.checkpoint)
        if (request.run, request.weights, request.checkpoint) != own:
            raise InputError(f"this studio has the run {own[0]}, weights {own[1]}: name no other")
        return self._fitting(request)

    def restored(self, table: object) -> tuple[Request, list[str]]:
        """A request of whatever origin as one for this run, and what is different now."""
        found, warnings = read_request(table, **self._own()), []
        request = replace(
            found,
            run=named(self.options.run),
            weights=self.options.weights,
            checkpoint=self.checkpoint,
        )
        if request != found:
            step = "" if found.checkpoint is None else f", step {found.checkpoint}"
            warnings.append(f"made with the run {found.run}, weights {found.weights}{step}")
        return self._fitting(request), warnings

    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = {"run": named(self.options.run), "weights": self.options.weights}
        if self.checkpoint is not None:
            own["checkpoint"] = self.checkpoint
        return own | {"settings": dataclasses.asdict(self.generators.settings)}

    def _fitting(self, request: Request) -> Request:
        request.require_fit(len(self.generators.classes), self.geometry)
        if request.reference:
            self.require_reference(request.reference)
        return request

    def require_reference(self, reference: Reference) -> None:
        """InputError for a row of another store, and for tokens that are no image here."""
        if not reference.is_row:
            self.sequences(reference)
        elif self.store is None or reference.store != self.store.path:
            raise InputError(
                f"the reference is in {reference.store}: start the studio with --store "
                f"{reference.store}"
            )

    def sequences(self, reference: Reference) -> Sequences:
        """The tokens [1, ...] of a reference; InputError where there are none."""
        codes = self.generators.detokenizer.config.codebook_size
        if not reference.is_row:
            return reference.sequences(self.generators.tokenizer, self.geometry, codes)
        self.require_reference(reference)
        assert self.store is not None
        assert reference.row is not None
        return row_sequences(self.store, reference.row, self.generators.tokenizer)

    def as_tokens(self, sequences: Sequences, image: int = 0, name: str = "") -> dict[str, Any]:
        """An image of a batch as a reference of its own, as JSON has it."""
        return {
            "leaves": sequences.leaves[image].tolist(),
            "content": sequences.content[image].tolist(),
            "tokenizer": self.generators.tokenizer,
            "name": name,
        }

    def film(self, sequences: Sequences) -> Film:
        """The stages of images, rendered where the networks are."""
        placed = sequences.to(self.device)
        return stored_film(self.generators.detokenizer, placed.leaves, placed.content)

    def words(self, request: Request) -> dict[str, Any]:
        """The request, what repeats it, and the names of the files that this needs."""
        classes, own = self.generators.classes, self.generators.settings
        return {
            "request": request.as_json(),
            "command": command_of(request, classes, own),
            "python": python_of(request, classes, own),
            "files": list(files_of(request, self.geometry)),
        }

    def tokenized(self, pixels: Tensor) -> Sequences:
        """Tokens of pixels uint8 [1, 3, D, D]; InputError without a tokenizer."""
        model = require_photos(self)
        leaves, content, _ = model.tokenize(pixels)
        return Sequences(leaves.long(), content, torch.tensor([-1]))


def require_photos(models: Models) -> Autoencoder:
    """The tokenizer; InputError where none is open."""
    if models.tokenizer is None:
        raise InputError("photos need the run's tokenizer: start the studio with --tokenizer RUN")
    return models.tokenizer


def open_models(options: StudioOptions) -> Models:
    """Open what the command line names, once; InputError where it does not belong together."""
    run, step = split_checkpoint(options.run)
    options = replace(options, run=run)
    generators = open_generators(run, options.weights, step, options.device)
    tokenizer = None
    if options.tokenizer:
        tokenizer = open_tokenizer(options.tokenizer, generators.tokenizer, options.trust)
    store = open_store(options.store) if options.store else None
    if store is not None and not store.finished and not store.committed():
        raise StoreError(f"{store.path} has no rows yet: tokenize some first")
    return Models(options, step, generators, tokenizer, store)
