"""Processes of launchers, forked from one that has already imported what they need.

Ray starts an interpreter for each worker and actor, which starts another one: seconds of imports, a
hundred times in a run of all tests. In tests the first is `fork_stub.py`, and instead of the second
a fork runs Ray's own program. torchrun's ranks are such forks too. The Ray of test_poison.py starts
its workers itself, as all do where there is no Linux.
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
import threading
import traceback
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

from tests.fork_stub import HANDED_ON, STDIO, VARIABLE, address
from tests.processes import server

MESSAGE = 1 << 18  # bytes of arguments and variables, and more
STUB = str(Path(__file__).with_name("fork_stub.py"))
MODULE = "--module"
HAS_FORKS = sys.platform == "linux"  # for its sockets without files


@cache
def serve_forks() -> None:
    """From now on there is a server for this process and those that it starts."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address(str(os.getpid())))
    listener.listen(64)
    server().Process(target=_serve, args=(listener,), daemon=True).start()
    listener.close()
    os.environ[VARIABLE] = str(os.getpid())


def fork_workers() -> None:
    """The workers of this process's Ray are forks from now on, where there may be; imports Ray."""
    if not HAS_FORKS:
        return
    from ray._private import ray_constants

    ray_constants.SETUP_WORKER_FILENAME = STUB


def fork_of(module: str) -> list[str]:
    """The command of a fork that runs a module, for a launcher that this process starts."""
    if not HAS_FORKS:
        return [sys.executable, "-m", module]
    serve_forks()
    return [sys.executable, STUB, MODULE, module]


def _serve(listener: socket.socket) -> None:
    """A fork for each that asks, until the process that started this one has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.sentinel not in wait([listener, parent.sentinel]):
        asking, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _become_fork(asking)
        asking.close()


def _become_fork(asking: socket.socket) -> None:
    """What the stub was asked to start; does not return."""
    code = 1
    try:
        wanted, files, *_ = socket.recv_fds(asking, MESSAGE, len(STDIO))
        arguments, variables, folder = json.loads(wanted)
        for number, file in zip(STDIO, files, strict=True):
            os.dup2(file, number)
            os.close(file)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  a forked process has another
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        for number in (signal.SIGCHLD, *HANDED_ON):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        multiprocessing.current_process().daemon = False
        asking.send(str(os.getpid()).encode())
        threading.Thread(target=_end_with, args=(asking,), daemon=True).start()
        if arguments[0] == MODULE:
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            _run_worker(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        asking.send(str(code).encode())
        os._exit(code)


def _end_with(asking: socket.socket) -> None:
    """When the stub is killed this process is, as if it were the stub."""
    asking.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _run_worker(arguments: list[str]) -> None:
    """As Ray's `setup_worker.py`, in this process."""
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs

    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", dest="context", default="{}")
    parser.add_argument("--language")
    own, sys.argv = parser.parse_known_args(arguments)
    update_envs(RuntimeEnvContext.deserialize(own.context).env_vars)
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    runpy.run_path(sys.argv[0], run_name="__main__")
