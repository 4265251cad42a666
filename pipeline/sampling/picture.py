"""The picture of samples: its name where none is given."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

MOST_NAMED = 4  # classes in the name of a file


def default_picture(
    run: Path, names: list[str], wanted: bool, number: int, seed: int, others: dict[str, Any]
) -> Path:
    """`samples/CLASSES-nN-seedS.png` of a run: one command, one name.

    All else that the images depend on, `others`, is a short digest in it.
    """
    said = "all" if not wanted else "-".join(re.sub(r"[^\w]+", "_", name)[:24] for name in names)
    if wanted and len(names) > MOST_NAMED:
        said = f"{len(names)}-classes-{_digest(names)}"
    digest = f"-{_digest(others)}" if others else ""
    return run / "samples" / f"{said}-n{number}-seed{seed}{digest}.png"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
