"""Figures, pages and the local server for a store, with original images from its source."""

import contextlib
from pathlib import Path

from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.store import Store, open_store
from nvg.view.html import Originals, page_html, select_rows
from nvg.view.server import HOST, Browser, make_server
from nvg.view.sheets import hierarchy_sheet, usage_charts
from nvg.view.structure_stats import structure_lines
from nvg.view.summary import summarize
from pipeline.images.blocks import decode_rows
from pipeline.images.crops import Crops
from pipeline.images.label_maps import store_regions
from pipeline.images.pixels import Reading
from pipeline.recipe import DataConfig
from pipeline.sources import Row, open_source


def write_page(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Write a page over `chosen` rows or those of `text`, with originals where readable."""
    require_file_place(out)
    rows = chosen or select_rows(store, text)
    write_atomic(out, page_html(store, rows, originals(store, rows)))


def write_sheet(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Write a sheet of `chosen` rows, those of `text`, or the first row with tokens."""
    require_file_place(out)
    rows = chosen or (select_rows(store, text) if text else store.ok_rows()[:1].tolist())
    write_atomic(out, hierarchy_sheet(store, rows, originals(store, rows)))


def write_charts(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Chart the usage of the whole store by stage; the rows do not matter."""
    require_file_place(out)
    write_atomic(out, usage_charts(summarize(store)))


def originals(store: Store, rows: list[int]) -> Originals:
    """Center crops of rows from the source of the store, where it can be read."""
    size = store.manifest.image_size
    found: Originals = {}
    with contextlib.suppress(InputError, KeyError, OSError):
        data = DataConfig.recorded(store.manifest.recipe["data"])
        source = open_source(data)
        entries = store.entries(rows)
        wanted = [Row(entry["key"], entry["label"]) for entry in entries]
        block = decode_rows(source, wanted, Crops(size), reading=Reading.of(data))
        for n, row in enumerate(rows):
            if block["reason"][n] == "":
                found[row] = block["pixels"][n, 0].transpose(1, 2, 0)
    return found


def serve_store(path: str, against: str | None, port: int) -> None:
    """Serve a store to web browsers on this machine until Ctrl-C."""
    store, other = open_store(path), open_store(against) if against else None
    if other is not None and other.geometry != store.geometry:
        raise InputError(f"{against} has another grid than {path}: compare stores of the same grid")
    server = make_server(Browser(store, other, originals), port)
    print(f"http://{HOST}:{server.server_port}/ shows {path}; stop with Ctrl-C", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def structure_report(store: Store, segments: str | None) -> list[str]:
    """Quality of the structure; with a folder of label maps, also its agreement with them."""
    return structure_lines(store, store_regions(store, segments))
