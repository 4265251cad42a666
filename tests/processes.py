"""Processes for tests, forked from one that has already imported the libraries.

A new interpreter takes seconds to import torch; a fork of a server that has done so takes none,
`tests/warm.py` says what of. No pool of threads is forked in use. What launchers do themselves
(torchrun starting a killed rank again, Ray Train) is tested with the launchers.
"""

import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import time
import weakref
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import fsspec

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = {"OMP_NUM_THREADS": "1"}
POLL, PATIENCE = 0.02, 300.0
"""Seconds between looks at processes, and before they count as hanging."""


def server() -> ForkServerContext:
    """One for each process of pytest. It keeps the variables it was started with.

    Without the path it would import the package `tests` of its working directory, which a test may
    have changed, or the one that some library installs.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.warm"])
    before = dict(os.environ)
    os.environ.update(VARIABLES, PYTHONPATH=str(ROOT), PYTHONSAFEPATH="1")
    forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(before)
    return context


class Forked:
    """`python -m module arguments` in a process of its own, on one thread."""

    def __init__(self, module: str, *arguments: object, **variables: str) -> None:
        """Start it with these environment variables added."""
        folder = Path(tempfile.mkdtemp(prefix="nvg-test-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._files = [folder / "stdout", folder / "stderr"]
        command = [module, *map(str, arguments)]
        environment = {**os.environ, **VARIABLES, **variables}
        self._process = server().Process(target=_run, args=(command, environment, self._files))
        self._process.start()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"hangs; said: {self.said()[1][-3000:]}"
        return self._process.exitcode

    def said(self) -> tuple[str, str]:
        """What it has written so far to stdout and stderr."""
        out, error = (file.read_text() if file.exists() else "" for file in self._files)
        return out, error

    def wait_for(self, text: str) -> None:
        """Until it has printed this."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.said()[0]:
            hopeless = self.returncode is not None or time.monotonic() > deadline
            assert not hopeless, self.said()[1][-3000:]
            time.sleep(POLL)

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """With SIGKILL; waits for the end."""
        self.send_signal(signal.SIGKILL)
        self.wait()


def start_processes(
    count: int, module: str, *arguments: object, per_node: int | None = None
) -> list[Forked]:
    """The same command as every rank of a gloo group, as if so many of them were on each node.

    They get the variables that torchrun sets.
    """
    if count == 1:
        return [Forked(module, *arguments)]
    own = per_node or count
    group = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(own), **_address()}
    return [
        Forked(module, *arguments, RANK=str(rank), LOCAL_RANK=str(rank % own), **group)
        for rank in range(count)
    ]


def outputs(started: list[Forked]) -> list[str]:
    """What each printed, in order of rank; all must end well, and end when one does not."""
    deadline = time.monotonic() + PATIENCE
    while any(process.returncode is None for process in started):
        if any(process.returncode for process in started) or time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(POLL)
    for process in started:
        assert process.returncode == 0, "\n".join(each.said()[1][-3000:] for each in started)
    return [process.said()[0] for process in started]


def run_verb(processes: int, *arguments: object) -> str:
    """`nvgctl` as so many ranks; what the first printed."""
    return outputs(start_processes(processes, "cli.app", *arguments))[0]


def retry_at_once() -> None:
    """The waits of S3's client before it tries again, half a second and more, become hundredths."""
    from botocore import retryhandler

    def brief(base: object, growth_factor: float, attempts: int) -> float:
        return 0.01 * growth_factor**attempts

    retryhandler.delay_exponential = brief


def _address() -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}


def _run(command: list[str], environment: dict[str, str], files: list[Path]) -> None:
    """In the fork: become that command."""
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    if "AWS_ENDPOINT_URL" in environment:
        retry_at_once()
        fsspec.config.set_conf_env(fsspec.config.conf)  # which it reads when it is imported
    if "--workers" in command:
        from tests.forks import fork_workers

        fork_workers()
    sys.argv = command
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
