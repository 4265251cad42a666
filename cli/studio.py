"""`nvgctl studio`: draw, sample, keep and edit in a browser."""

from typing import Annotated

import typer

from cli.options import RUN, TOKENIZER, Trust, Weights, WeightsName, local, local_if, require_there

LOOPBACK = "127.0.0.1"


def studio(
    run: Annotated[str, typer.Argument(help="Generator run (path or URL), or a checkpoint in one")],
    store: Annotated[str | None, typer.Option(help="Store whose rows can be kept parts of")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Autoencoder run (path or URL), so that photos can be kept parts of"),
    ] = None,
    weights: Weights = WeightsName.EMA,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:N (default: a GPU if any)")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, help="Port; 0 picks a free one")] = 8643,
    opens: Annotated[bool, typer.Option("--open", help="Open it in a browser")] = False,
    trust: Trust = False,
) -> None:
    """Draw, sample, keep and edit in a web browser on this machine; stop with Ctrl-C."""
    require_there(run, RUN)
    require_there(tokenizer, TOKENIZER)
    from pipeline.studio.models import StudioOptions
    from pipeline.studio.serve import serve_studio

    options = StudioOptions(
        run=local(run, "generators"),
        store=store,
        tokenizer=local_if(tokenizer, "tokenizer"),
        weights=weights.value,
        device=device,
        trust=trust,
    )
    serve_studio(options, host, port, opens)
