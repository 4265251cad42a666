"""`nvgctl pack`: a run as a folder to hand on."""

from pathlib import Path
from typing import Annotated

import typer

from cli.log import say
from cli.options import local, local_if, require_out


def pack(
    run: Annotated[str, typer.Argument(help="Run directory of a tokenizer or of generators")],
    out: Annotated[Path, typer.Option(help="Folder to write, to upload as it is")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Autoencoder run to add to generators (default: theirs)")
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(min=1, help="Step of a checkpoint, of an unfinished run too")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence to state in the model card")] = "",
) -> None:
    """Write what others need of a run: EMA weights, decoder, classes, model card, checksums."""
    require_out(out)
    from pipeline.packing.pack import PackOptions, pack_run

    options = PackOptions(
        out=out,
        tokenizer=local_if(tokenizer, "tokenizer"),
        checkpoint=checkpoint,
        licence=licence,
    )
    say(pack_run(local(run), options))
