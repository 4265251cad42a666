"""User errors share one base class, which the command line turns into one line."""

import errno
import signal
import socket

import pytest

from nvg.config import ConfigError
from nvg.errors import (
    AGAIN,
    InputError,
    Stopped,
    WorkError,
    exit_code,
    first_line,
    full_disk_named,
    printable,
    rank,
    shown,
    speaker,
    stop_leaves,
)
from nvg.format.base import StoreError
from nvg.training.run_dir import RunError
from nvg.weights import CheckpointError
from pipeline.images.decode import ImageError
from pipeline.sources import SourceError

KINDS = [CheckpointError, ConfigError, ImageError, RunError, SourceError, StoreError]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_the_user_is_an_input_error(kind: type[Exception]) -> None:
    """The command line catches InputError; Python callers may catch ValueError."""
    assert issubclass(kind, InputError)
    assert issubclass(kind, ValueError)


def test_unusable_input_and_failed_work_have_codes_of_their_own() -> None:
    """2 and 1, on the command line and between processes."""
    assert [exit_code(error) for error in (InputError(), WorkError())] == [2, 1]


def test_a_process_alone_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands before its errors, also where a stray variable names a rank."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "3")
    assert (rank(), speaker()) == (0, "")


def test_one_of_several_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank, number of processes and machine."""
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    assert (rank(), speaker()) == (3, f"rank 3 of 8 on {socket.gethostname()}: ")


@pytest.mark.parametrize(
    ("raised", "said", "code"),
    [
        (KeyboardInterrupt(), "stopped by SIGINT; nothing was written", 130),
        (Stopped(signal.SIGTERM), "stopped by SIGTERM; nothing was written", 143),
        (Stopped(signal.SIGHUP, "step 7 is saved"), "stopped by SIGHUP; step 7 is saved", 129),
    ],
)
def test_a_stop_says_what_it_leaves(raised: KeyboardInterrupt, said: str, code: int) -> None:
    """Whoever knows it first, and by which signal; callers may catch KeyboardInterrupt."""
    with pytest.raises(KeyboardInterrupt) as caught, stop_leaves(lambda: "nothing was written"):
        raise raised
    assert isinstance(caught.value, Stopped)
    assert (str(caught.value), caught.value.code) == (said, code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "plain é \N{SNOWMAN} \N{IDEOGRAPHIC SPACE}x",
            "plain é \N{SNOWMAN} \N{IDEOGRAPHIC SPACE}x",
        ),
        ("\x1b[2Ja\nb\t\x7f", r"\x1b[2Ja\nb\t\x7f"),
        ("\x9b31m\u202egnp.\u2028", r"\x9b31m\u202egnp.\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_text_from_elsewhere_steers_no_terminal(text: str, shown: str) -> None:
    """Escape sequences, line ends and changes of direction are written out; letters stay."""
    assert printable(text) == shown


def test_an_error_is_told_by_its_first_line() -> None:
    """Without the name of a kind of error, and never as nothing."""
    assert first_line(OSError("bad thrift: TProtocolException: Invalid data\nmore")) == (
        "bad thrift: Invalid data"
    )
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert first_line(caught.value) == "it is not UTF-8 text"
    assert first_line(ValueError("\x1b[1m")) == r"\x1b[1m"
    assert first_line(ValueError()) == first_line(KeyError.__new__(KeyError)) == "no reason given"


def test_a_value_is_shown_short() -> None:
    """One that has no text, as of 10^5000, too."""
    assert shown("a\x1b[2J") == repr("a\x1b[2J")
    assert shown(16**5000) == "a value too long to show"
    assert len(shown(["x"] * 10_000)) < 130


def test_a_full_disk_is_named_with_the_remedy() -> None:
    """Other errors pass."""
    with (
        pytest.raises(WorkError, match=r"^a\.vgs: no space is left .* then give the command again"),
        full_disk_named("a.vgs", AGAIN),
    ):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    with pytest.raises(PermissionError), full_disk_named("a.vgs", AGAIN):
        raise PermissionError(errno.EACCES, "no")
