"""Ray: joining or starting a cluster, and training in its processes."""

import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nvg
import pipeline
from nvg.errors import InputError, WorkError

LISTENER_SECONDS = 10.0
NOTES, REFUSED = "ray", "refused.txt"  # Ray's folder in a run, and a worker's error message in it
RESTARTS = 3  # of all workers of a training run


def start_ray(address: str | None) -> tuple[int, int]:
    """Join the cluster at `address` or RAY_ADDRESS, or start one here; its CPUs and GPUs.

    The driver of a Ray job joins its own cluster, whose workers have the job's files; this code is
    sent to any other cluster.
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


def train_on_ray(
    worker: Callable[[dict[str, Any]], None], job: dict[str, Any], workers: int, address: str | None
) -> None:
    """Run `worker(job)` in `workers` processes of a Ray cluster, each with a GPU if it has any.

    When a worker or node is lost, Ray restarts all workers, and they resume from the last
    checkpoint.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    _, gpus = start_ray(address)
    notes = Path(job["out"]) / NOTES
    trainer = TorchTrainer(
        worker,
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


def _last_line(error: Exception) -> str:
    """The message of the error that a worker raised, out of Ray's report of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return raised[-1].partition(": ")[2] if raised else lines[-1] if lines else type(error).__name__
