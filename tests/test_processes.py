"""Does the server of processes find the project wherever a test stands? Are stub and fork one?"""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.forks import HAS_FORKS, fork_of
from tests.processes import ROOT

FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.processes import Forked
process = Forked("platform")
print(process.wait(), process.said())
"""


@pytest.mark.thorough
def test_a_server_started_from_another_folder_imports_these_tests(tmp_path: Path) -> None:
    """One folder has a package `tests` of its own, as an installed library may have."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    code = f"if __name__ == '__main__':\n{FIRST}".replace("\n", "\n    ")
    file = tmp_path / "first.py"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, file, ROOT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("0 "), done.stderr


NEEDS_FORKS = pytest.mark.skipif(not HAS_FORKS, reason="launchers start their own processes here")


def console(line: str) -> "subprocess.Popen[str]":
    """A fork that has been given a line of Python, for a launcher that sees the stub only."""
    pipe = subprocess.PIPE
    started = subprocess.Popen(
        fork_of("code"), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdin
    started.stdin.write(f"{line}\n")
    started.stdin.flush()
    return started


@NEEDS_FORKS
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import os; os._exit(3)", -signal.SIGKILL),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_stub_ends_as_its_fork_does(line: str, code: int) -> None:
    """With its exit code; a death without one is one of the stub."""
    with console(line) as stub:
        assert stub.wait(60) == code


@NEEDS_FORKS
@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_for_the_stub_ends_the_fork(number: int) -> None:
    """As launchers end what they have started."""
    with console("import os; print(os.getpid())") as stub:
        assert stub.stdout
        fork = psutil.Process(int(stub.stdout.readline().removeprefix(">>> ")))
        assert fork.pid != stub.pid
        stub.send_signal(number)
        assert psutil.wait_procs([fork], 60)[0] == [fork]
