"""Errors that no verb foresaw."""

import errno
import os

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.failure import REMEDIES, failure_line, require_no_empty


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize("number", [*REMEDIES, errno.EIO])
def test_the_system_is_quoted_with_the_file(number: int) -> None:
    """And what can be done, where that is known; no class of Python's."""
    line = failure_line(OSError(number, os.strerror(number), "a/b.png"))
    assert line.startswith(f"a/b.png: {os.strerror(number)}")
    assert line.endswith(REMEDIES.get(number, os.strerror(number)))
    assert "Error:" not in line
    assert "Errno" not in line


def test_full_memory_names_the_remedy() -> None:
    """Of a device or of the machine."""
    assert "of the device is full: lower batch_size" in failure_line(OutOfMemoryError("CUDA"))
    assert "of this machine is full: lower batch_size" in failure_line(MemoryError())


def test_storage_behind_a_url_names_the_remedy() -> None:
    """Also where another error was made of the client's, as s3fs does."""
    client = type("EndpointConnectionError", (Exception,), {"__module__": "botocore.exceptions"})
    made = OSError("reduce your request rate")
    made.__cause__ = client("slow down")
    within = OSError(errno.EBUSY, "Service Unavailable")
    within.__context__ = made.__cause__
    for error, said in (
        (client("no route"), "no route"),
        (made, "reduce your request rate"),
        (within, f"[Errno {errno.EBUSY}] Service Unavailable"),
    ):
        line = failure_line(error)
        assert line.startswith(f"storage failed ({said}): see to the connection")
        assert "--resume" in line


def test_a_fault_of_the_program_says_how_to_see_it() -> None:
    """Its first line only."""
    line = failure_line(KeyError("x\ny"))
    assert line == "failed: KeyError: 'x\\ny' (NVG_TRACEBACK=1 shows where)"
    assert failure_line(RuntimeError("a\nb")).startswith("failed: RuntimeError: a (")
    assert failure_line(OSError("odd")).startswith("failed: OSError: odd")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["verify", ""], "an argument"),
        (["train", "generator", "a.toml", "--store", "a.vgs", "--out", ""], "--out"),
        (["merge", "a.vgs", "b.vgs", "--out="], "--out"),
        (["tokenize", "", "--tokenizer", "run", "--out", "a.vgs"], "an argument"),
    ],
)
def test_an_empty_argument_is_said_before_anything(words: list[str], named: str) -> None:
    """A shell makes one of a variable that is not set; as a path it is the current folder."""
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"nvgctl: {named} is empty, as of a shell variable")
    require_no_empty(["sample", "run", "--set", "data.path=", "-n", "2"])
