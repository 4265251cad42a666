"""docs/ARCHITECTURE.md is true: every step of the six ways (its packages: test_layout.py)."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.doc_rules import identifiers, names_of, prose

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = prose((ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8"))
STEP = re.compile(r"^( *)- `([\w/]+\.py):([\w.]+)`", re.M)


def steps(text: str) -> Iterator[tuple[tuple[str, str], tuple[str, str] | None]]:
    """((file, name), the step it is indented under) of every step of the ways."""
    above: list[tuple[int, tuple[str, str]]] = []
    for indent, file, name in STEP.findall(text):
        while above and above[-1][0] >= len(indent):
            above.pop()
        yield (file, name), above[-1][1] if above else None
        above.append((len(indent), (file, name)))


def broken_steps(text: str) -> list[str]:
    """Steps that do not exist, or whose name the file of the step above does not mention."""
    found = []
    for (file, name), above in steps(text):
        if not (ROOT / file).is_file() or name not in names_of(ROOT / file):
            found.append(f"no {name} in {file}")
        elif above and name.split(".")[-1] not in identifiers(ROOT / above[0]):
            found.append(f"{above[0]} does not name {name}")
    return found


def test_every_step_exists_and_follows_from_the_one_above() -> None:
    """The six ways can be walked in the code as the page has them."""
    assert len(list(steps(DOCUMENT))) > 60
    assert DOCUMENT.count("\n- `cli/") == 8  # the way to measures has three
    assert broken_steps(DOCUMENT) == []


def test_a_wrong_step_is_found() -> None:
    """A planted name that is not there, and a planted step that does not follow."""
    planted = (
        "- `cli/app.py:tokenize`\n    - `nvg/geometry.py:labels`\n    - `nvg/geometry.py:no`\n"
    )
    assert broken_steps(planted) == [
        "cli/app.py does not name labels",
        "no no in nvg/geometry.py",
    ]
