"""nvgctl: thin verbs over the library, which import what they need, so that --help is fast."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.compose import merge, subset
from cli.doctor import doctor
from cli.evaluate import evaluate
from cli.failure import failure_line, require_no_empty
from cli.inspect import inspect, view
from cli.log import print_on_any_terminal, say, show_log
from cli.options import (
    TOKENIZER,
    Address,
    DataPath,
    DryRun,
    EngineName,
    ExportName,
    ForeignName,
    Heldout,
    LabelColumn,
    Resume,
    Settings,
    Trust,
    Views,
    local,
    local_if,
    read_images,
    require_out,
    require_recipe,
    require_there,
)
from cli.pack import pack
from cli.recipe import recipe
from cli.sample import sample
from cli.studio import studio
from cli.train import train
from nvg.errors import ElsewhereError, InputError, WorkError, exit_code, printable, speaker, stopped
from nvg.training.stop import signals_stop

GIVEN = "nvg.given"  # the arguments of the command line, in what Typer keeps of a call
LEFT = {  # by a verb that a signal stops, where its work does not say more
    "train": "go on with --resume",
    "tokenize": "finished chunks stay; go on with --resume",
    "evaluate": "only combinations of --sweep that are measured stay; the same command goes on",
}


class Verbs(TyperGroup):
    """Turns errors into one line and an exit code: 2 bad input, 1 failure, 128 + a signal."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[GIVEN] = [*args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        show_log()
        try:
            require_no_empty(ctx.meta[GIVEN])
            return super().invoke(ctx)
        except (InputError, WorkError) as error:
            code, line = exit_code(error), str(error)
        except ElsewhereError as error:
            raise typer.Exit(error.code) from None
        except BrokenPipeError:  # a reader such as `head` has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return None
        except KeyboardInterrupt as error:
            end = stopped(error, LEFT.get(ctx.invoked_subcommand, ""))
            code, line = end.code, str(end)
        except Exception as error:
            if os.environ.get("NVG_TRACEBACK") or type(error).__module__.startswith(
                ("click", "typer")
            ):
                raise
            code, line = 1, failure_line(error)
        typer.echo(f"nvgctl: {speaker()}{printable(line)}", err=True)
        raise typer.Exit(code)


def show_version(wanted: bool) -> None:
    """Print the version and end, where `--version` is given."""
    if wanted:
        from nvg import __version__

        typer.echo(f"nvgctl {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Next Visual Granularity: tokenize datasets, train on tokens, inspect and sample.",
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print and exit")
    ] = False,
) -> None:
    """Next Visual Granularity: tokenize datasets, train on tokens, inspect and sample."""


app.add_typer(train, name="train")
app.add_typer(evaluate, name="evaluate")


@app.command("import-weights")
def import_weights(
    file: Annotated[str, typer.Argument(help="File of published weights (path or URL)")],
    kind: Annotated[ForeignName, typer.Option("--from", help="Project that published them")],
    out: Annotated[Path, typer.Option(help="Run directory to write")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Autoencoder of generators whose file holds none")
    ] = None,
) -> None:
    """Convert published weights, of a tokenizer or of generators, to a run."""
    require_there(file, "the file of the published weights")
    require_out(out)
    require_there(tokenizer, TOKENIZER)
    from pipeline.import_weights import Project, write_run

    autoencoder = local_if(tokenizer, "tokenizer")
    say([write_run(local(file, "file"), Project(kind), out, autoencoder)])


@app.command()
def tokenize(
    data: DataPath,
    tokenizer: Annotated[
        str, typer.Option(help="Autoencoder run directory or weights file, path or URL")
    ],
    out: Annotated[str, typer.Option(help="Store to write, NAME.vgs")],
    engine: Annotated[
        EngineName, typer.Option(help="Run chunks on Ray or in this process")
    ] = EngineName.RAY,
    views: Views = None,
    heldout: Heldout = None,
    label_column: LabelColumn = None,
    settings: Settings = None,
    resume: Resume = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Append images that were added to the source")
    ] = False,
    part: Annotated[
        str | None, typer.Option(help="Write one of N shares, 3/64; jobs run independently")
    ] = None,
    address: Address = None,
    trust: Trust = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Remove the lock of a dead writer (object storage)")
    ] = False,
    max_errors: Annotated[
        int | None, typer.Option(min=0, help="Exit with 1 where more images cannot be read")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Tokenize all images, of a recipe or as they lie, into a store."""
    if address and engine is not EngineName.RAY:
        raise InputError("--address names a Ray cluster: use --engine ray")
    require_recipe(data)
    require_there(tokenizer, TOKENIZER)
    require_out(out)
    loaded = read_images(
        data, settings, "data", views=views, heldout=heldout, label_column=label_column
    )
    from pipeline.tokenize.dataset import PassMode
    from pipeline.tokenize.engine import Engine
    from pipeline.tokenize.estimate import plan_lines
    from pipeline.tokenize.part_pass import tokenize_images
    from pipeline.tokenize.report import Report
    from pipeline.tokenize.tokenizer import with_tokenizer

    model = local(tokenizer, "tokenizer")
    if dry_run:
        say(plan_lines(with_tokenizer(loaded, model, trust), out, part))
        return
    mode = PassMode.EXTEND if extend else PassMode.RESUME if resume else PassMode.NEW
    options: dict[str, Any] = {"address": address, "break_lock": break_lock, "trust": trust}
    report = tokenize_images(loaded, model, out, Engine(engine.value), mode, part=part, **options)
    say(report.lines())
    if isinstance(report, Report):  # not of a share of a store that others write
        report.require_read()
        report.require_images(max_errors)


app.command("merge")(merge)
app.command("subset")(subset)
app.command("inspect")(inspect)
app.command("view")(view)


@app.command()
def export(
    store: Annotated[str, typer.Argument(help="Finished store (path or URL)")],
    out: Annotated[Path, typer.Option(help="File to write, or folder for webdataset")],
    kind: Annotated[ExportName, typer.Option("--format", help="Format to write")],
) -> None:
    """Export tokens as Parquet, Arrow or WebDataset shards."""
    require_out(out)
    from nvg.store import open_store
    from nvg.store.export import ExportFormat, export_store

    count = export_store(open_store(store), ExportFormat(kind.value), out)
    say([f"wrote {count} images to {out}"])


@app.command()
def verify(store: Annotated[str, typer.Argument(help="Store (path or URL)")]) -> None:
    """Read and check every chunk of a store."""
    from nvg.progress import progress
    from nvg.store import open_store

    opened = open_store(store)
    faults = opened.verify(lambda chunks: progress(chunks, desc="verify", unit="chunk"))
    for fault in faults:
        typer.echo(printable(f"{store}: {fault}"), err=True)
    rows, errors = len(opened), opened.manifest.errors
    said = f"{rows} rows" + f", {errors} of them without tokens (bad images)" * bool(errors)
    if rows and errors == rows:
        said = f"but none of its {rows} rows has tokens: no image could be read"
    say([f"{store}: {'intact' if not faults else f'{len(faults)} faults'}, {said}"])
    if faults:
        remedy = "repair it with `nvgctl tokenize ... --resume`"
        if opened.manifest.parts:
            remedy = "repair the store of its rows that a line names, or make this one again"
        typer.echo(remedy, err=True)
        raise typer.Exit(1)


@app.command()
def init(
    data: Annotated[
        str, typer.Argument(help="Images: a folder, Parquet, Arrow, tar, CSV or JSONL, path or URL")
    ],
    image_size: Annotated[
        int | None, typer.Option(help="Side of the model's images (default: what suits them)")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Autoencoder run (path or URL) whose model the recipe takes")
    ] = None,
    views: Views = None,
    heldout: Heldout = None,
    label_column: LabelColumn = None,
) -> None:
    """Print the commented recipe that images stand for, with sizes that suit them."""
    require_recipe(data)
    require_there(tokenizer, TOKENIZER)
    from pipeline.data_recipe import DataOptions, init_recipe

    options = DataOptions(
        heldout=heldout, label_column=label_column, views=views, image_size=image_size
    )
    typer.echo(init_recipe(data, options, local_if(tokenizer, "tokenizer")), nl=False)


app.command("sample")(sample)
app.command("pack")(pack)
app.command("doctor")(doctor)
app.command("studio")(studio)
app.command("recipe")(recipe)


def main() -> None:
    """Entry point of nvgctl."""
    print_on_any_terminal()
    with signals_stop():
        app(prog_name="nvgctl")


if __name__ == "__main__":
    main()
