"""The engines that drive chunks through decoding, encoding and committing: Ray Data, or inline."""

import logging
import os
import pickle
import re
import shutil
import socket
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import nvg
import pipeline
from nvg.errors import InputError, WorkError
from pipeline.blocks import Block
from pipeline.plan import ChunkTask
from pipeline.report import Work
from pipeline.steps import CHUNK, Commit, Decode, Encode, Steps, WholeChunk
from pipeline.tokenize import ChunkTokenizer, commit_chunk

LISTENER_SECONDS = 10.0
NOTES, REFUSED = "ray", "refused.txt"  # Ray's folder in a run, and a worker's word in it
RESTARTS = 3  # of all workers of a training run


class Engine(StrEnum):
    """Where chunks are processed."""

    RAY = "ray"
    INLINE = "inline"


def run_chunks(
    steps: Steps, tasks: list[ChunkTask], engine: Engine, address: str | None
) -> tuple[Work, Iterator[Block]]:
    """The record of the work, and the counts of each chunk as it is committed, in any order."""
    if engine is Engine.INLINE:
        return Work(engine.value, "1 process"), _inline(steps, tasks)
    cpus, gpus = _start_ray(address)
    workers = min(gpus or cpus, len(tasks))
    resources = f"{workers} encoders on {cpus} CPUs and {gpus} GPUs"
    chunks = _ray_on_gpus if gpus else _ray_on_cpus
    return Work(engine.value, resources), chunks(steps, tasks, workers, cpus)


def _inline(steps: Steps, tasks: list[ChunkTask]) -> Iterator[Block]:
    """One chunk after another in this process."""
    encode = ChunkTokenizer(steps.tokenizer, steps.batch_size, features=steps.features)
    for task in tasks:
        yield commit_chunk(encode(steps.decode(task)), steps.store_path)


def _ray_on_cpus(steps: Steps, tasks: list[ChunkTask], workers: int, _cpus: int) -> Iterator[Block]:
    """One actor per core does all steps of a chunk: pixels and tokens never leave its process."""
    import ray

    actors = ray.data.ActorPoolStrategy(size=workers)
    counts = _task_rows(tasks).map_batches(
        WholeChunk, fn_constructor_args=(steps,), batch_size=1, compute=actors, num_cpus=1
    )
    return _results(counts)


def _ray_on_gpus(steps: Steps, tasks: list[ChunkTask], workers: int, cpus: int) -> Iterator[Block]:
    """Decode tasks -> one encoder actor per GPU -> commit tasks; a block stays one chunk.

    Ray holds decoding back while its object store is full of pixels that no encoder has taken.
    """
    import ray

    actors = ray.data.ActorPoolStrategy(size=workers)
    committers = ray.data.TaskPoolStrategy(size=max(1, cpus // 4))
    counts = (
        _task_rows(tasks)
        .map_batches(Decode(steps), batch_size=1, num_cpus=1)
        .map_batches(Encode, fn_constructor_args=(steps,), batch_size=1, compute=actors, num_gpus=1)
        .map_batches(Commit(steps), batch_size=1, num_cpus=1, compute=committers)
    )
    return _results(counts)


def _task_rows(tasks: list[ChunkTask]) -> Any:
    """A dataset whose rows are chunks, each in a block of its own: nothing splits or joins them."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{CHUNK: pickle.dumps(task)} for task in tasks]
    return ray.data.from_items(items, override_num_blocks=len(items))


def _results(counts: Any) -> Iterator[Block]:
    """The counts as they arrive; what a worker raised is raised here, as it was there."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after Ray has set up its own
    for row in counts.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        found = pickle.loads(row[CHUNK][0])
        if isinstance(found, Exception):
            raise found
        yield found


def _start_ray(address: str | None) -> tuple[int, int]:
    """Join the cluster at `address` or RAY_ADDRESS, or start one here; its CPUs and GPUs.

    A job's driver joins its own cluster, whose workers have the job's files; any other cluster is
    given this code.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a warning for every run
    import ray

    wanted = address or os.environ.get("RAY_ADDRESS")
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    options: dict[str, Any] = {} if wanted else {"include_dashboard": False}
    if wanted and not in_job:
        packages = [str(Path(package.__file__ or "").parent) for package in (nvg, pipeline)]
        options["runtime_env"] = {"py_modules": packages}
    if not ray.is_initialized():
        try:
            ray.init(wanted or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"no Ray cluster answers at {wanted}: {reason}") from None
    deadline = time.monotonic() + 30  # nodes of a young cluster report their resources late
    while not (found := ray.cluster_resources()).get("CPU") and time.monotonic() < deadline:
        time.sleep(0.5)
    if not found.get("CPU"):
        raise InputError(f"the Ray cluster at {wanted} has no CPUs: add a node")
    return int(found["CPU"]), int(found.get("GPU", 0))


def require_listener(address: str | None) -> None:
    """InputError when nothing listens at HOST:PORT: Ray would try for minutes."""
    address = address or os.environ.get("RAY_ADDRESS")
    if not address or address == "auto":
        return
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=LISTENER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}") from None


def train_on_ray(job: dict[str, Any], workers: int, address: str | None) -> None:
    """Run `fit_generator` in so many processes of a Ray cluster, with a GPU each where it has any.

    A worker or node that is lost costs the steps since the last checkpoint: Ray starts all workers
    again, and they resume.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    _, gpus = _start_ray(address)
    notes = Path(job["out"]) / NOTES
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config=job,
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(gpus)),
        run_config=RunConfig(
            name=f"nvg-{os.getpid()}",
            storage_path=str(notes),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what a worker raised, and keeps its last line
        raise WorkError(_last_line(error)) from error
    finally:
        refused = [path.read_text() for path in notes.glob(REFUSED)]
        shutil.rmtree(notes, ignore_errors=True)
    if refused:
        raise InputError(refused[0])


def _train_worker(job: dict[str, Any]) -> None:
    """One process of the run; one that is started again resumes.

    What the input is to blame for would only be met again: it is left for the driver to say.
    """
    from pipeline.fit import fit_generator

    out = Path(job["out"])
    resume = job["resume"] or (out / "checkpoints").exists()
    try:
        fit_generator(job["recipe"], job["store"], out, job["only"], resume)
    except InputError as error:
        (out / NOTES / REFUSED).write_text(str(error))


def _last_line(error: Exception) -> str:
    """What a worker raised, out of Ray's account of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return said[-1].partition(": ")[2] if said else lines[-1] if lines else type(error).__name__
