"""A request as the command and the lines of Python that make the same images, to the bit.

Both read what is drawn or kept from files beside them, which `files_of` gives.
"""

import json
import shlex
from enum import Enum
from typing import Any

import numpy as np
from PIL import Image

from nvg.errors import InputError
from nvg.geometry import Geometry
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import class_ids
from nvg.view.figures import png_bytes
from pipeline.sampling.options import SHORT
from pipeline.sampling.references import TOKEN_NAMES, keep_text
from pipeline.sampling.request import Reference, Request

DRAWING, MASK, REFERENCE = "drawing.png", "mask.png", "reference.json"
HUES = (  # of the regions of a drawing, for people: its palette's numbers are what counts
    *((230, 97, 0), (93, 58, 155), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (204, 121, 167), (140, 140, 140), (40, 40, 40)),
)


def command_of(request: Request, classes: list[str], own: SamplerConfig) -> str:
    """The line for a shell; `classes` and `own` settings are those of the run."""
    words = ["nvgctl", "sample", request.run]
    for label in request.classes:
        words += ["--label", label_word(classes, label)]
    words += ["-n", str(request.number), "--seed", str(request.seed)]
    if request.weights != "ema":
        words += ["--weights", request.weights]
    if request.checkpoint is not None:
        words += ["--checkpoint", str(request.checkpoint)]
    short = {key: flag.replace("_", "-") for flag, key in SHORT.items()}
    for key, value in _changed(request.settings, own).items():
        if key in short:
            words += [f"--{short[key]}", str(value)]
        else:
            words += ["--set", f"sample.{key}={value}"]
    return shlex.join(words + [word for pair in _control_flags(request) for word in pair])


def python_of(request: Request, classes: list[str], own: SamplerConfig) -> str:
    """The lines of Python; the pictures are `pictures`."""
    changed = _changed(request.settings, own)
    imports, opening = ["import nvg"], f"generators = nvg.load_generators({request.run!r})"
    if request.weights != "ema" or request.checkpoint is not None:
        imports = ["from pathlib import Path", "from pipeline.run_weights import open_generators"]
        chosen = f"{request.weights!r}, {request.checkpoint!r}"
        opening = f"generators = open_generators(Path({request.run!r}), {chosen})"
    for kind in {type(value) for value in changed.values() if isinstance(value, Enum)}:
        imports.append(f"from {kind.__module__} import {kind.__name__}")
    settings = [f"{key}={_literal(value)}" for key, value in changed.items()]
    more, steering = _control_lines(request)
    control = ["control=control"] * bool(steering)
    if request.classes:
        named = " + ".join(
            f"[{label_word(classes, label)!r}] * {request.number}" for label in request.classes
        )
        given = [named, f"seed={request.seed}", *control, *settings]
        sampling = f"pictures = generators.sample({', '.join(given)})"
    else:
        imports.append("from dataclasses import replace")
        config = f"config=replace({', '.join(['generators.settings', *settings])})"
        given = [f"[-1] * {request.count}", f"seed={request.seed}", config, *control]
        sampling = f"pictures = generators.images({', '.join(given)})"
    lines = sorted({*imports, *more}, key=lambda line: (line.startswith("from"), line))
    return "\n".join([*lines, "", opening, *steering, sampling, ""])


def files_of(request: Request, geometry: Geometry) -> dict[str, bytes]:
    """The files that both read, by their names."""
    found: dict[str, bytes] = {}
    if request.drawing:
        drawn = _picture(request.drawing.regions, geometry, "P")
        drawn.putpalette([level for hue in HUES for level in hue])
        found[DRAWING] = png_bytes(drawn)
    if request.region:
        found[MASK] = png_bytes(_picture([255 * each for each in request.region], geometry, "L"))
    if request.reference and not request.reference.is_row:
        found[REFERENCE] = reference_json(request.reference)
    return found


def reference_json(reference: Reference) -> bytes:
    """Tokens as `load_reference` reads them."""
    return json.dumps({name: getattr(reference, name) for name in TOKEN_NAMES}).encode()


def label_word(classes: list[str], label: int) -> str:
    """What names a class to `--label`: its name, or its number where another has that name."""
    for word in (classes[label], str(label)):
        if word and not word.startswith("-") and class_ids(classes, [word]) == [label]:
            return word
    raise InputError(f"class {label} cannot be named: another has its name, and its number")


def _changed(settings: SamplerConfig, own: SamplerConfig) -> dict[str, Any]:
    """Settings that are not the run's own."""
    return {name: value for name, value in vars(settings).items() if value != getattr(own, name)}


def _literal(value: Any) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _keep(request: Request) -> str | None:
    """The word for --keep, where there is one."""
    if request.drawing:
        stages = request.drawing.stages
        return None if stages is None else f"structure:{stages}"
    return keep_text(request.kept) if request.keep else None


def _reference_word(reference: Reference) -> str:
    return f"{reference.store}:{reference.row}" if reference.is_row else REFERENCE


def _control_flags(request: Request) -> list[tuple[str, str]]:
    flags = {
        "--structure": DRAWING if request.drawing else None,
        "--reference": _reference_word(request.reference) if request.reference else None,
        "--keep": _keep(request),
        "--mask": MASK if request.region else None,
    }
    return [(flag, word) for flag, word in flags.items() if word is not None]


def _control_lines(request: Request) -> tuple[list[str], list[str]]:
    """Imports and lines that make `control`; none where nothing is given."""
    count, module = request.count, "pipeline.sampling.references"
    geometry = "geometry = generators.detokenizer.config.geometry"
    path, keep = "from pathlib import Path", _keep(request)
    if request.drawing:
        given = f"Path({DRAWING!r}), {keep!r}, geometry, {count}"
        made = f"control = picture_control({given})"
        return [path, f"from {module} import picture_control"], [geometry, made]
    if request.reference is None:
        return [], []
    mask = f"Path({MASK!r})" if request.region else "None"
    word = _reference_word(request.reference)
    return (
        [path] * bool(request.region) + [f"from {module} import load_reference, reference_control"],
        [
            geometry,
            f"reference = load_reference({word!r}, generators.tokenizer, None)",
            f"control = reference_control(reference, {keep!r}, {mask}, geometry, {count})",
        ],
    )


def _picture(values: Any, geometry: Geometry, mode: str) -> Image.Image:
    """Values of the latent grid [N] as a picture of one pixel each."""
    picture = Image.new(mode, (geometry.grid, geometry.grid))
    picture.putdata(np.asarray(values).tolist())
    return picture
