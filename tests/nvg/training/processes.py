"""Processes of a group on this machine, each running a function of a test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def start_two(module: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """`python -m module arguments` as ranks 0 and 1 of a gloo group."""
    return start_processes(2, module, *arguments)


def start_processes(count: int, module: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """The same as so many ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", module, *arguments]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
            )
        )
    return started


def outputs(started: list[subprocess.Popen[str]]) -> list[str]:
    """What each printed, in order of rank; all must end well."""
    found = []
    for process in started:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-3000:]
        found.append(out)
    return found
