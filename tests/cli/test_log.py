"""The command line shows the library's log once, as plain lines."""

import logging

import pytest
from tqdm import tqdm

from cli.log import LOGGER, BarHandler, say, show_log


@pytest.fixture(autouse=True)
def as_before() -> object:
    """Restore the shared logger after each test."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    LOGGER.handlers = []
    yield
    LOGGER.handlers = handlers
    LOGGER.setLevel(level)


def test_a_line_is_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, however often show_log is called, also above a running bar."""
    show_log()
    show_log()
    with tqdm(total=2):
        logging.getLogger("nvg").warning("stage %d collapses", 3)
        logging.getLogger("nvg").debug("not shown")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("stage 3 collapses\n") == 1
    assert "WARNING" not in printed.err
    assert "not shown" not in printed.err


def test_a_program_decides_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """The library installs no handler of its own."""
    import nvg  # noqa: F401

    assert not any(isinstance(handler, BarHandler) for handler in LOGGER.handlers)


def test_of_several_processes_the_first_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even warnings of the others are shown, which Python would print by itself."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    show_log()
    LOGGER.warning("stage 3 collapses")
    assert capsys.readouterr().err == ""


def test_lines_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of classes and files come from elsewhere; line ends of ours stay."""
    say(["class \x1b[2J\u202e", "a\nb", "\udcff"])
    assert capsys.readouterr().out == "class \\x1b[2J\\u202e\na\nb\n\\udcff\n"
    say([])
    assert capsys.readouterr().out == ""
