"""`nvgctl inspect` and `nvgctl view`: look at a store."""

from pathlib import Path
from typing import Annotated

import typer

from cli.log import say
from cli.options import OriginalsPlace, require_store
from nvg.errors import InputError

Charts = Annotated[
    Path | None, typer.Option(help="Write a PNG of usage, entropy and residual per stage")
]
Page = Annotated[Path | None, typer.Option(help="Write a self-contained page over several images")]
Duplicated = Annotated[
    bool, typer.Option("--duplicates", help="Show rows of equal tokens and structure")
]
LastStage = Annotated[
    int | None,
    typer.Option(min=0, help="Last stage that --duplicates compares (default: of all)"),
]


def inspect(
    store: Annotated[str, typer.Argument(help="Store (path or URL)")],
    row: Annotated[int | None, typer.Option(help="Show the image in this row")] = None,
    key: Annotated[str | None, typer.Option(help="Show the image with this key")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write a PNG of the hierarchies of that image or of --rows")
    ] = None,
    stats_png: Charts = None,
    html: Page = None,
    rows: Annotated[
        str | None, typer.Option(help="Rows for --png and --html, for example 0-11,40")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    stats: Annotated[
        bool, typer.Option("--stats", help="Also measure the structure per stage")
    ] = False,
    duplicates: Duplicated = False,
    stages: LastStage = None,
    segments: Annotated[str | None, typer.Option(help="Folder of label maps, for --stats")] = None,
    originals: OriginalsPlace = None,
) -> None:
    """Show what a store holds, or one image's structure and tokens."""
    from nvg.store import open_store
    from nvg.view.summary import find_key
    from pipeline.inspect import print_duplicates, print_store

    has_row, is_drawn = row is not None or key is not None, bool(png or html)
    _refuse(
        (segments and not stats, "--segments needs --stats: add it"),
        (rows and not is_drawn, "--rows needs --png or --html: add one"),
        (rows and has_row, "--rows excludes --row and --key: give one"),
        (key is not None and row is not None, "--key excludes --row: give one"),
        (originals and not is_drawn, "--originals needs --png or --html: add one"),
        (stages is not None and not duplicates, "--stages needs --duplicates: add it"),
        (
            duplicates and (has_row or is_drawn or stats_png or stats),
            "--duplicates excludes rows, pictures and --stats: ask for one",
        ),
    )
    if is_drawn or stats_png:
        _require_drawings(png, stats_png, html)
    opened = open_store(store)
    if duplicates:
        return print_duplicates(opened, stages, as_json)
    if key is not None:
        row = find_key(opened, key)
    if not (stats or png or stats_png or html):
        return print_store(opened, row, as_json)
    from pipeline.originals import original_reader
    from pipeline.view import structure_report, write_charts, write_page, write_sheet

    lines = structure_report(opened, segments) if stats else []
    print_store(opened, row, as_json)
    say(lines)
    wanted = [row] if row is not None else rows
    read = original_reader(opened, originals) if png or html else None
    for path, write in ((png, write_sheet), (stats_png, write_charts), (html, write_page)):
        if path:
            write(opened, wanted, path, read)
            say([f"wrote {path}"])


def _require_drawings(png: Path | None, stats_png: Path | None, html: Path | None) -> None:
    """InputError for a file that could not be written, before anything is read."""
    from nvg.view.formats import CHART_FORMATS, FORMATS, PAGE_FORMATS, require_drawing

    for path, formats in ((png, FORMATS), (stats_png, CHART_FORMATS), (html, PAGE_FORMATS)):
        if path:
            require_drawing(path, formats)


def _refuse(*wrong: tuple[object, str]) -> None:
    """InputError with the line of the first that holds."""
    for is_wrong, line in wrong:
        if is_wrong:
            raise InputError(line)


def view(
    store: Annotated[str, typer.Argument(help="Store (path or URL)")],
    against: Annotated[
        str | None, typer.Option(help="Second store of the same source, shown side by side")
    ] = None,
    originals: OriginalsPlace = None,
    port: Annotated[int, typer.Option(min=0, help="Local port; 0 picks a free one")] = 8642,
) -> None:
    """Browse a store in a web browser on this machine; stop with Ctrl-C."""
    for path in (store, *([against] if against else ())):
        require_store(path, finished=False)
    from pipeline.view import serve_store

    serve_store(store, against, port, originals)
