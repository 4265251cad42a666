"""`nvgctl inspect` as text, without torch: in color, plain or JSON."""

import json
import sys
from dataclasses import asdict

from nvg.store import Store
from nvg.store.format import OK
from nvg.view.summary import summarize
from nvg.view.text import row_lines, summary_lines


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
        print("\n".join(summary_lines(summarize(store)) if row is None else row_lines(store, row)))


def _row_record(store: Store, row: int) -> dict[str, object]:
    """The index entry of an image, with leaves and tokens of every view."""
    entry = store.entry(row)
    if entry["status"] != OK:
        return entry
    leaves, content = store.row_tokens([row])
    return {**entry, "leaves": leaves[0].tolist(), "content": content[0].tolist()}
