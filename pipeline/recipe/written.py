"""A recipe as commented TOML: what a line of the command stood for."""

from collections.abc import Mapping
from typing import Any

import tomli_w

ABOUT = {
    "data": "Which images. heldout: how many are held out for measuring.",
    "autoencoder.model": "The tokenizer. grid = image_size / 2^(number of multipliers - 1).",
    "autoencoder.train": "Its training. Losses and more: docs/guides/train-tokenizer.md",
    "tokenize": "The offline pass. views: center, flip, ten-crop, random-crop*8, random-crop-flip.",
    "generator": "The two generators: small4, small8, d12, d16, d20 or d24.",
    "generator.train": "Their training. Held-out losses and more: docs/guides/train-generators.md",
    "sample": "Defaults of sampling: docs/guides/sample.md",
}


def commented(
    head: list[str],
    table: Mapping[str, Any],
    why: Mapping[str, str],
    about: Mapping[str, str] = ABOUT,
) -> str:
    """TOML of a recipe's table, with a line on each section in `about` and the reasons of keys."""
    lines = [f"# {line}".rstrip() for line in head]
    for section, values in _sections(table, ""):
        lines += ["", *([f"# {about[section]}"] if section in about else []), f"[{section}]"]
        for key, value in values.items():
            text = _line(key, value)
            reason = why.get(f"{section}.{key}")
            lines.append(f"{text}  # {reason}" if reason else text)
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any) -> str:
    """A key in one line, a list too."""
    text = tomli_w.dumps({key: value}).strip()
    if isinstance(value, list | tuple):
        text = " ".join(text.split()).replace("[ ", "[").replace(", ]", "]")
    return text


def _sections(table: Mapping[str, Any], prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and own keys of each section that has some, outer ones first."""
    found = []
    for name, inner in table.items():
        if not isinstance(inner, Mapping):
            continue
        own = {key: value for key, value in inner.items() if not isinstance(value, Mapping)}
        found += [(f"{prefix}{name}", own)] if own else []
        found += _sections(inner, f"{prefix}{name}.")
    return found
