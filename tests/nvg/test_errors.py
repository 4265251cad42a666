"""User errors share one base class, which the command line turns into one line."""

import pytest

from nvg.config import ConfigError
from nvg.errors import InputError
from nvg.store.format import StoreError
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
