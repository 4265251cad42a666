"""`nvgctl inspect` as text, without torch: in color, plain or JSON."""

import json
import sys
from dataclasses import asdict

from nvg.errors import printable
from nvg.format.base import OK
from nvg.store import Store
from nvg.view.summary import summarize
from nvg.view.text import row_lines, summary_lines

MOST_GROUPS, MOST_KEYS = 20, 8  # that a screen names


def print_store(store: Store, row: int | None, as_json: bool) -> None:
    """Print a store or one image of it: in color on a terminal, plain in a pipe, or as JSON."""
    if as_json:
        print(json.dumps(asdict(summarize(store)) if row is None else _row_record(store, row)))
    elif sys.stdout.isatty():
        from rich.console import Console

        from nvg.view.terminal import row_view, summary_view

        console = Console()
        console.print(
            summary_view(summarize(store), console.width)
            if row is None
            else row_view(store, store.entry(row))
        )
    else:
        lines = summary_lines(summarize(store)) if row is None else row_lines(store, row)
        print("\n".join(map(printable, lines)))


def print_duplicates(store: Store, last: int | None, as_json: bool) -> None:
    """Print which rows are equal at stages 0..last: all groups as JSON, else the largest."""
    from nvg.compose.duplicates import find_duplicates

    found = find_duplicates(store, last)
    shown = found.groups if as_json else [g[:MOST_KEYS] for g in found.groups[:MOST_GROUPS]]
    entries = store.entries(sorted(row for group in shown for row in group))
    keys = {entry["row"]: entry["key"] for entry in entries}
    if as_json:
        groups = [[{"row": row, "key": keys[row]} for row in group] for group in shown]
        print(json.dumps({**asdict(found), "path": store.path, "groups": groups}))
        return
    print(f"{store.path}: {found.rows} tokenized rows, first view, equal tokens and structure")
    print("stages   groups     rows")
    for count in found.counts:
        print(f"0..{count.stage:<4d}{count.groups:8d} {count.rows:8d}")
    for group in found.groups[:MOST_GROUPS]:
        named = [f"{row} {keys[row]!a}" for row in group[:MOST_KEYS]]
        more = [f"{len(group) - MOST_KEYS} more"] if len(group) > MOST_KEYS else []
        print(f"{len(group)} rows: {', '.join([*named, *more])}")
    if len(found.groups) > MOST_GROUPS:
        print(f"{len(found.groups) - MOST_GROUPS} more groups: --json has all")


def _row_record(store: Store, row: int) -> dict[str, object]:
    """The index entry of an image, with leaves and tokens of every view."""
    entry = store.entry(row)
    if entry["status"] != OK:
        return entry
    leaves, content = store.row_tokens([row])
    return {**entry, "leaves": leaves[0].tolist(), "content": content[0].tolist()}
