"""Workers of Ray, forked from a process that has already imported what they need.

Ray starts an interpreter for each worker and actor, which starts another one: seconds of imports, a
hundred times in a run of all tests. In tests the first is `ray_stub.py`, and instead of the second
a fork runs Ray's own program. The Ray of test_poison.py starts its workers itself.
"""

import argparse
import atexit
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import traceback
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

from tests.processes import server
from tests.ray_stub import STDIO, VARIABLE, address

MESSAGE = 1 << 18  # bytes of arguments and variables, and more


@cache
def fork_workers() -> None:
    """From now on those of Ray in this process, and in processes that it starts, are forks."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address(str(os.getpid())))
    listener.listen(64)
    server().Process(target=_serve, args=(listener,), daemon=True).start()
    listener.close()
    os.environ[VARIABLE] = str(os.getpid())
    use_forks()


def use_forks() -> None:
    """Where a server has been started, Ray's workers are forks of it; imports Ray."""
    from ray._private import ray_constants

    ray_constants.SETUP_WORKER_FILENAME = str(Path(__file__).with_name("ray_stub.py"))


def _serve(listener: socket.socket) -> None:
    """A fork for each that asks, until the process that started this one has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.sentinel not in wait([listener, parent.sentinel]):
        asking, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _become_worker(asking)
        asking.close()


def _become_worker(asking: socket.socket) -> None:
    """What the stub was asked to start; does not return."""
    code = 1
    try:
        wanted, files, *_ = socket.recv_fds(asking, MESSAGE, len(STDIO))
        arguments, variables, folder = json.loads(wanted)
        for number, file in zip(STDIO, files, strict=True):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        multiprocessing.current_process().daemon = False
        _run_worker(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        os._exit(code)


def _run_worker(arguments: list[str]) -> None:
    """As Ray's `setup_worker.py`, in this process."""
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs

    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", dest="context", default="{}")
    parser.add_argument("--language")
    own, sys.argv = parser.parse_known_args(arguments)
    update_envs(RuntimeEnvContext.deserialize(own.context).env_vars)
    sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    runpy.run_path(sys.argv[0], run_name="__main__")
