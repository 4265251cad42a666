"""The training verbs in the processes of a Ray cluster, where run and data can be reached."""

from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

from nvg.compose.mixture import Mixture, absolute, open_tokens
from nvg.errors import ElsewhereError, InputError, WorkError, speaker
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE
from nvg.training.run_dir import Run
from nvg.training.run_lock import RESTART_SECONDS
from pipeline.cluster import NOTES, REFUSED, require_listener, train_on_ray
from pipeline.recipe import Recipe
from pipeline.train import (
    autoencoder_run,
    fit_autoencoder,
    fit_generator,
    parts_named,
    start_of,
)

Job = dict[str, Any]
"""What a worker is told: recipe, out, resume, start_from, folder, and what its verb needs."""


def fit_autoencoder_on_ray(
    recipe: Recipe,
    out: Path,
    resume: bool,
    workers: int,
    address: str | None,
    start_from: Path | None = None,
) -> list[str]:
    """Train the autoencoder in several processes, from the weights of a run if one is given."""
    require_listener(address)
    autoencoder_run(recipe, out, resume)  # refuses what cannot be continued
    train_on_ray(autoencoder_worker, _job(recipe, out, resume, start_from), workers, address)
    return [f"{out / AUTOENCODER_FILE}: trained by {workers} workers"]


def fit_on_ray(
    recipe: Recipe,
    store_path: str | Mixture,
    out: Path,
    only: str | None,
    resume: bool,
    workers: int,
    address: str | None,
    start_from: Path | None = None,
) -> list[str]:
    """Train the generators in several processes, from the weights of a run if one is given."""
    require_listener(address)
    store = open_tokens(store_path)
    store.require_finished()
    start_from = start_of(recipe, store, parts_named(only), out, start_from)
    Run(out, recipe, resume, ("generator",), only or "")  # refuses what cannot be continued
    location = absolute(store_path)
    job = _job(recipe, out, resume, start_from) | {"store": location, "only": only}
    train_on_ray(generator_worker, job, workers, address)
    names = [out / f"{part.value}.safetensors" for part in parts_named(only)]
    return [f"{name}: trained on {store_path} by {workers} workers" for name in names]


def autoencoder_worker(job: Job) -> None:
    """One process of a training of the autoencoder."""
    _in_worker(job, partial(fit_autoencoder, job["recipe"]))


def generator_worker(job: Job) -> None:
    """One process of a training of the generators."""
    _in_worker(job, partial(fit_generator, job["recipe"], job["store"], only=job["only"]))


def _job(recipe: Recipe, out: Path, resume: bool, start_from: Path | None) -> Job:
    start = start_from and start_from.absolute()
    where = {"out": str(out.absolute()), "folder": str(Path.cwd())}
    return {"recipe": recipe, "resume": resume, "start_from": start, **where}


def _in_worker(job: Job, fit: Callable[..., object]) -> None:
    """Train in this process; one that is started again resumes.

    An error of the input would only recur. It is written down for the driver to raise, and workers
    that Ray starts once more because of it find it and end.
    """
    out, folder = Path(job["out"]), Path(job["folder"])
    refused = out / NOTES / REFUSED
    if refused.exists():
        return
    resume = job["resume"] or (out / "checkpoints").exists()
    try:
        # Relative paths of a recipe are meant from where the command was given.
        with chdir(folder if folder.is_dir() else Path.cwd()):
            start_from = job["start_from"]
            fit(out=out, resume=resume, start_from=start_from, lock_seconds=RESTART_SECONDS)
    except InputError as error:
        refused.write_text(f"{speaker()}{error}")
        raise
    except Exception as error:
        is_ours = isinstance(error, (WorkError, ElsewhereError))
        reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
        raise WorkError(f"{speaker()}{reason}") from error
