"""Pictures in a process of their own, under a limit of time and memory that ends it alone.

For what may take more than a process can spare, or end it: large pictures, and those of a chunk
whose worker died. A call takes seconds to begin with and a copy of the pixels after that.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

from nvg.errors import WorkError
from pipeline.images import threads
from pipeline.images.decode import TOO_LONG, TOO_MUCH_MEMORY, ImageError

MOST_BYTES = 4 << 30  # of addresses beyond those of the process at rest
WALL = 5  # times MOST_SECONDS by the clock on the wall
IS_POSSIBLE = sys.platform != "win32"  # where a process can be given a pipe and limits

Result = TypeVar("Result")


class Apart:
    """Calls functions in another process, one at a time; it begins with the first call."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe: Connection | None = None

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, work: Callable[..., Result], *arguments: object) -> Result:
        """What `work` returns or raises there; ImageError where a limit or the process ends it."""
        if not IS_POSSIBLE:
            return work(*arguments)
        pipe = self._begun()
        try:
            pipe.send_bytes(pickle.dumps((work, arguments, threads.MOST_SECONDS)))
            if not pipe.poll(WALL * threads.MOST_SECONDS):
                self._end()
                raise ImageError(TOO_LONG)
            is_good, found = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            raise ImageError(self._end()) from None
        if not is_good:
            raise found
        result: Result = found
        return result

    def _begun(self) -> Connection:
        if self.pipe is None:
            self.pipe, theirs = Pipe()
            command = [sys.executable, "-m", "pipeline.images.apart", str(theirs.fileno())]
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            path = {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path)}
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    env=os.environ | one_thread | path,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
                )
            try:
                self.pipe.recv_bytes()  # it has begun: its time counts from here
            except (EOFError, OSError):
                raise WorkError(f"no process for large pictures: {self._end()}") from None
        return self.pipe

    def _end(self) -> str:
        """End the process; why it had ended before, as a reason of the index."""
        if self.process is None or self.pipe is None:
            return ""
        self.pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)  # one that died is not quite gone yet
        self.process.kill()
        code, self.process, self.pipe = self.process.wait(), None, None
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return TOO_LONG if code == -signal.SIGXCPU else "its decoder is killed: out of memory?"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its decoder ends the process ({name})"


def serve(pipe: Connection) -> None:
    """Do what comes through the pipe until it closes."""
    import resource

    _limit(resource.RLIMIT_AS, _addresses() + MOST_BYTES if _addresses() else None)
    pipe.send_bytes(b"begun")
    while True:
        try:
            work, arguments, seconds = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        _limit(resource.RLIMIT_CPU, int(time.process_time() + seconds) + 1)
        try:
            reply: tuple[bool, Any] = (True, work(*arguments))
        except MemoryError:
            reply = (False, ImageError(TOO_MUCH_MEMORY))
        except Exception as error:
            reply = (False, error)
        pipe.send_bytes(pickle.dumps(reply))


def _addresses() -> int:
    """Bytes of addresses that this process has; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _limit(kind: int, most: int | None) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    if most is not None and (hard == resource.RLIM_INFINITY or most < hard):
        resource.setrlimit(kind, (most, hard))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
