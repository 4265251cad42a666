"""The inspecting verb: a store or one of its images, for a terminal, a pipe, or a program."""

import json
import sys
from dataclasses import asdict

from rich.console import Console

from nvg.inspection import row_entry, row_lines, structure_lines, survey_lines
from nvg.store import OK, Store
from nvg.survey import survey
from nvg.terminal import row_view, survey_view
from pipeline.segments import store_regions


def look(store: Store, row: int | None, as_json: bool) -> None:
    """Print a store, or one image of it: in colour where that can be seen, plain in a pipe."""
    if as_json:
        print(json.dumps(_row_facts(store, row) if row is not None else asdict(survey(store))))
    elif not sys.stdout.isatty():
        print("\n".join(row_lines(store, row) if row is not None else survey_lines(survey(store))))
    elif row is not None:
        Console().print(row_view(store, row_entry(store, row)))
    else:
        Console().print(survey_view(survey(store)))


def _row_facts(store: Store, row: int) -> dict[str, object]:
    """The index entry of an image with leaves and tokens of every view."""
    entry = row_entry(store, row)
    if entry["status"] != OK:
        return entry
    return {
        **entry,
        "leaves": store.leaves[row].tolist(),
        "content": store.content[row].tolist(),
    }


def measured(store: Store, segments: str | None) -> list[str]:
    """How good the structure is; with a folder of label maps how it agrees with these."""
    return structure_lines(store, store_regions(store, segments))
