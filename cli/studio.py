"""`nvgctl studio`: draw, sample, keep and edit in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Trust, WeightsName

LOOPBACK = "127.0.0.1"


def studio(
    run: Annotated[Path, typer.Argument(help="Generator run directory, or a checkpoint in one")],
    store: Annotated[str | None, typer.Option(help="Store whose rows can be kept parts of")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Autoencoder run, so that photos can be kept parts of")
    ] = None,
    weights: Annotated[
        WeightsName, typer.Option(help="EMA, last, or EMA of the lowest held-out loss")
    ] = WeightsName.EMA,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:N (default: a GPU if any)")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, help="Port; 0 picks a free one")] = 8643,
    opens: Annotated[bool, typer.Option("--open", help="Open it in a browser")] = False,
    trust: Trust = False,
) -> None:
    """Draw, sample, keep and edit in a web browser on this machine; stop with Ctrl-C."""
    from pipeline.studio.models import StudioOptions
    from pipeline.studio.serve import serve_studio

    options = StudioOptions(
        run=run,
        store=store,
        tokenizer=tokenizer,
        weights=weights.value,
        device=device,
        trust=trust,
    )
    serve_studio(options, host, port, opens)
