"""The library logs; the command line shows what it says, once, as plain lines."""

import logging

import pytest
from tqdm import tqdm

from cli.log import LOGGER, BarHandler, show_log


@pytest.fixture(autouse=True)
def as_before() -> object:
    """The logger is shared: give it back as it was."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    LOGGER.handlers = []
    yield
    LOGGER.handlers = handlers
    LOGGER.setLevel(level)


def test_a_line_is_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, once however often the log is shown, also below a running bar."""
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
