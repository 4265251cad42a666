"""Figures, pages and the local server for a store, with original images where the user says."""

import contextlib
from pathlib import Path

from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.store import Store, open_store
from nvg.view.formats import CHART_FORMATS, PAGE_FORMATS, picture_bytes, require_drawing
from nvg.view.html import page_html, select_rows
from nvg.view.server import HOST, Browser, OriginalReader, make_server
from nvg.view.sheets import hierarchy_sheet, usage_charts
from nvg.view.structure_stats import structure_lines
from nvg.view.summary import summarize
from pipeline.images.label_maps import store_regions
from pipeline.originals import original_reader

Wanted = list[int] | str | None
"""Rows by their numbers, or as text such as 0-11,40; None: those that suit."""


def write_page(store: Store, wanted: Wanted, out: Path, read: OriginalReader | None = None) -> None:
    """Write a page over some rows, with the originals that `read` finds."""
    require_drawing(out, PAGE_FORMATS)
    rows = wanted if isinstance(wanted, list) else select_rows(store, wanted)
    write_atomic(out, page_html(store, rows, read(store, rows) if read else {}))


def write_sheet(
    store: Store, wanted: Wanted, out: Path, read: OriginalReader | None = None
) -> None:
    """Write a sheet of some rows, or of the first one with tokens."""
    require_drawing(out)
    if wanted is None:
        wanted = store.ok_rows()[:1].tolist()
    rows = wanted if isinstance(wanted, list) else select_rows(store, wanted)
    sheet = hierarchy_sheet(store, rows, read(store, rows) if read else {})
    write_atomic(out, picture_bytes(sheet, out))


def write_charts(
    store: Store, wanted: Wanted, out: Path, read: OriginalReader | None = None
) -> None:
    """Chart the usage of the whole store by stage; rows and originals do not matter."""
    require_drawing(out, CHART_FORMATS)
    write_atomic(out, usage_charts(summarize(store), out.suffix.lower()))


def serve_store(path: str, against: str | None, port: int, place: str | None = None) -> None:
    """Serve a store to web browsers on this machine until Ctrl-C; originals are at `place`."""
    store, other = open_store(path), open_store(against) if against else None
    if other is not None and other.geometry != store.geometry:
        raise InputError(f"{against} has another grid than {path}: compare stores of the same grid")
    server = make_server(Browser(store, other, original_reader(store, place)), port)
    print(f"http://{HOST}:{server.server_port}/ shows {path}; stop with Ctrl-C", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def structure_report(store: Store, segments: str | None) -> list[str]:
    """Quality of the structure; with a folder of label maps, also its agreement with them."""
    return structure_lines(store, store_regions(store, segments))
