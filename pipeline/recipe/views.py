"""Views with a count: `random-crop*8` in `tokenize.views` stands for eight of them."""

import re
from collections.abc import Mapping
from typing import Any

from nvg.config import ConfigError

Table = dict[str, Any]

COUNTED = re.compile(r"(.+?)\s*\*\s*(\d+)")
MOST = 1000


def expand(table: Table) -> Table:
    """A recipe's table with each counted view as often as it says. ConfigError for none or many."""
    tokenize = table.get("tokenize")
    if not isinstance(tokenize, Mapping) or not isinstance(tokenize.get("views"), list):
        return table
    views = [name for view in tokenize["views"] for name in _repeated(view)]
    return {**table, "tokenize": {**tokenize, "views": views}}


def _repeated(view: Any) -> list[Any]:
    found = COUNTED.fullmatch(view) if isinstance(view, str) else None
    if found is None:
        return [view]
    count = int(found[2])
    if not 1 <= count <= MOST:
        raise ConfigError(f"tokenize.views: the count of {view!r} must be 1..{MOST}")
    return [found[1]] * count
