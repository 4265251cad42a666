"""`nvgctl merge` and `nvgctl subset`: stores of other stores' rows."""

from enum import StrEnum
from typing import Annotated

import typer


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
    from nvg.compose.merge import Overlap, merge_stores

    typer.echo("\n".join(merge_stores(stores, out, Overlap(overlap.value))))
