"""`nvgctl merge` and `nvgctl subset`: stores of other stores' rows."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.log import say
from cli.options import SplitName, require_out


class OverlapName(StrEnum):
    """Mirror of `nvg.compose.merge.Overlap`."""

    REFUSE = "refuse"
    FIRST = "first"
    ALL = "all"


def merge(
    stores: Annotated[list[str], typer.Argument(help="Finished stores (paths or URLs), in order")],
    out: Annotated[str, typer.Option(help="Store to write, NAME.vgs")],
    overlap: Annotated[
        OverlapName,
        typer.Option(help="Keys that several stores have: refuse, keep the first row, or all"),
    ] = OverlapName.REFUSE,
) -> None:
    """Merge stores of one tokenizer into one that links to them, without a copy of arrays."""
    require_out(out)
    from nvg.compose.merge import Overlap, merge_stores

    say(merge_stores(stores, out, Overlap(overlap.value)))


def subset(
    store: Annotated[str, typer.Argument(help="Finished store (path or URL)")],
    out: Annotated[str, typer.Option(help="Store to write, NAME.vgs")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Rows of this class (repeatable)")
    ] = None,
    split: Annotated[SplitName | None, typer.Option(help="Rows of this split")] = None,
    key: Annotated[
        str | None, typer.Option(help="Rows whose key fits a pattern, for example 'birds/*'")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="File of keys, a line each")] = None,
    error_below: Annotated[
        float | None, typer.Option(help="Rows whose residual after a stage is lower")
    ] = None,
    error_above: Annotated[
        float | None, typer.Option(help="Rows whose residual after a stage is higher")
    ] = None,
    stage: Annotated[
        int | None, typer.Option(min=0, help="The stage of that residual (default: the last)")
    ] = None,
) -> None:
    """Choose rows of a store by all that is asked, without a copy of arrays."""
    require_out(out)
    from nvg.compose.subset import RowFilter, subset_store
    from nvg.store import Split

    wanted = RowFilter(
        classes=tuple(classes or ()),
        split=Split(split.value) if split else None,
        key=key,
        keys=keys,
        stage=stage,
        error_below=error_below,
        error_above=error_above,
    )
    say(subset_store(store, out, wanted))
