"""Names that the command line mirrors are the library's own."""

from enum import StrEnum

import pytest

from cli import options
from nvg.generator.config import GeneratorKind
from nvg.store.export import ExportFormat
from pipeline.tokenize.engine import Engine


@pytest.mark.parametrize(
    ("mirror", "original"),
    [
        (options.EngineName, Engine),
        (options.PartName, GeneratorKind),
        (options.ExportName, ExportFormat),
    ],
)
def test_a_mirror_has_the_names_of_the_library(
    mirror: type[StrEnum], original: type[StrEnum]
) -> None:
    """A new member there is offered here, and nothing else is."""
    assert {member.value for member in mirror} == {member.value for member in original}
