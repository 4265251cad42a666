"""Ray: joining or starting a cluster, training in its processes, tasks for its actors."""

import logging
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nvg
import pipeline
from nvg.errors import InputError, WorkError
from pipeline.sources.counts import in_threads

LISTENER_SECONDS = 10.0
NOTES, REFUSED = "ray", "refused.txt"  # Ray's folder in a run, and a worker's error message in it
RESTARTS = 3  # of all workers of a training run, and of an actor
WAITING = 2  # tasks of each actor or core that are begun or done, and not yet asked for
FEW = 64  # tasks that threads do as quickly as a cluster

Task = TypeVar("Task")
Result = TypeVar("Result")


def start_ray(address: str | None) -> tuple[int, int]:
    """Join the cluster at `address` or RAY_ADDRESS, or start one here; its CPUs and GPUs.

    The driver of a Ray job joins its own cluster, whose workers have the job's files; this code is
    sent to any other cluster.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a warning for every run
    import ray

    wanted = cluster_address(address)
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    options: dict[str, Any] = {} if wanted else {"include_dashboard": False}
    if wanted and not in_job:
        packages = [str(Path(package.__file__ or "").parent) for package in (nvg, pipeline)]
        options["runtime_env"] = {"py_modules": packages}
    if not ray.is_initialized():
        try:
            with own_signal(signal.SIGTERM):  # Ray's own would exit with 15
                ray.init(
                    wanted or "local", log_to_driver=False, logging_level=logging.ERROR, **options
                )
        except (ConnectionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"no Ray cluster answers at {wanted}: {reason}") from None
    deadline = time.monotonic() + 30  # nodes of a young cluster report their resources late
    while not (found := ray.cluster_resources()).get("CPU") and time.monotonic() < deadline:
        time.sleep(0.5)
    if not found.get("CPU"):
        raise InputError(f"the Ray cluster at {wanted} has no CPUs: add a node")
    return int(found["CPU"]), int(found.get("GPU", 0))


def cluster_address(address: str | None) -> str | None:
    """That of the cluster to join, by flag or environment; None: this machine becomes one."""
    return address or os.environ.get("RAY_ADDRESS")


@contextmanager
def own_signal(number: signal.Signals) -> Iterator[None]:
    """Afterwards the signal does again what it did before, whatever Ray has put in its place."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        is_ours = before is not None  # a handler that is not Python's cannot be put back by it
        if is_ours and threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


def spilled_bytes() -> int:
    """Bytes that the object stores of the cluster have written to disks since they began."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return int(get_memory_info_reply(state).store_stats.spilled_bytes_total)


def require_listener(address: str | None) -> None:
    """InputError when nothing listens at HOST:PORT: Ray would try for minutes."""
    address = cluster_address(address)
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

    from nvg.distributed import timeout  # imports torch, which workers that only list do without

    _, gpus = start_ray(address)
    notes = Path(job["out"]) / NOTES
    shutil.rmtree(notes, ignore_errors=True)  # of a driver that was killed
    trainer = TorchTrainer(
        worker,
        train_loop_config=job,
        torch_config=TorchConfig(
            backend="nccl" if gpus else "gloo", timeout_s=int(timeout().total_seconds())
        ),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(gpus)),
        run_config=RunConfig(
            name=f"nvg-{os.getpid()}",
            storage_path=str(notes),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    failed: Exception | None = None
    try:
        with own_signal(signal.SIGINT):  # Ray's would go on asking a controller that is gone
            trainer.fit()
    except Exception as error:
        failed = error
    finally:
        refused = [path.read_text() for path in notes.glob(REFUSED)]
        shutil.rmtree(notes, ignore_errors=True)
    if refused:
        raise InputError(refused[0]) from failed
    if failed:  # Ray wraps what a worker raised, and keeps its last line
        raise WorkError(_last_line(failed)) from failed


class OnRay:
    """Something done to each of many tasks by workers of a cluster, see `Spread`.

    A few tasks are not worth one: threads of this process do them.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address

    def __call__(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of the tasks; errors of the input in words of ours."""
        if len(tasks) < FEW:
            yield from in_threads(work, tasks)
            return
        cpus, _ = start_ray(self.address)
        import ray

        remote: Any = ray.remote(num_cpus=1)(_answer)
        waiting: deque[Any] = deque()
        for task in tasks:
            if len(waiting) == WAITING * cpus:
                yield _result(waiting.popleft())
            waiting.append(remote.remote(work, task))
        while waiting:
            yield _result(waiting.popleft())


def _answer(work: Callable[[Task], Result], task: Task) -> Result | InputError:
    """What a worker sends back: Ray would wrap an error that is raised."""
    try:
        return work(task)
    except InputError as error:
        return error


class Worker:
    """What an actor does."""

    def __init__(self, opener: Callable[[], Any]) -> None:
        self.opener = opener
        self.state: Any = None

    def prepare(self) -> Any:
        """Open the state, if it is not."""
        return self.run(lambda _state, _task: None, None)

    def run(self, work: Callable[[Any, Any], Any], task: Any) -> Any:
        """One task; errors of the input become values, as Ray would wrap what is raised."""
        try:
            if self.state is None:
                self.state = self.opener()
            return work(self.state, task)
        except InputError as error:
            return error


@dataclass(frozen=True)
class Actors:
    """The actors of a `pipeline.team.Team`; this process is main, and holds no state."""

    handles: list[Any]
    is_main: bool = True

    def prepare(self) -> None:
        """An error of the input is known before bars and files; actors open at the same time."""
        for found in [handle.prepare.remote() for handle in self.handles]:
            _result(found)

    def map(self, work: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """In turn; a task of a lost actor is done again by its successor."""
        waiting: deque[Any] = deque()
        for number, task in enumerate(tasks):
            if len(waiting) == WAITING * len(self.handles):
                yield _result(waiting.popleft())
            waiting.append(self.handles[number % len(self.handles)].run.remote(work, task))
        while waiting:
            yield _result(waiting.popleft())

    def agree(self, value: Task) -> Task:
        """There is no other."""
        return value

    def agreed(self) -> AbstractContextManager[None]:
        """Actors tell this process their errors."""
        return nullcontext()


def _result(reference: Any) -> Any:
    """What an actor returned; InputError and WorkError in words of ours."""
    import ray

    try:
        found = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise WorkError(_last_line(error)) from error
    if isinstance(found, InputError):
        raise found
    return found


@contextmanager
def actors(opener: Callable[[], Any], workers: int, address: str | None) -> Iterator[Actors]:
    """So many actors of a cluster, each with a GPU if there are any; they are gone after.

    InputError where the cluster has no room for them.
    """
    require_listener(address)
    cpus, gpus = start_ray(address)
    if workers > (gpus or cpus):
        kind = "GPUs" if gpus else "CPUs"
        raise InputError(f"--workers {workers}: the Ray cluster has {gpus or cpus} {kind}")
    import ray

    remote = ray.remote(
        num_cpus=1, num_gpus=int(gpus > 0), max_restarts=RESTARTS, max_task_retries=RESTARTS
    )(Worker)
    handles: list[Any] = [remote.remote(opener) for _ in range(workers)]
    try:
        yield Actors(handles)
    finally:
        for handle in handles:
            ray.kill(handle)


def _last_line(error: Exception) -> str:
    """The message of the error that a worker raised, out of Ray's report of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return raised[-1].partition(": ")[2] if raised else lines[-1] if lines else type(error).__name__
