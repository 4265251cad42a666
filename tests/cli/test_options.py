"""Names that the command line mirrors are the library's own."""

import dataclasses
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from cli import options
from cli.evaluate import generation_verb, reconstruction_verb
from cli.sample import sample
from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.sampling.config import Compile
from nvg.store.export import ExportFormat
from pipeline.evaluation.generation_tasks import GenerationOptions
from pipeline.evaluation.reconstruction_tasks import ReconstructionOptions
from pipeline.sampling.options import SampleOptions
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


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (sample, SampleOptions),
        (generation_verb, GenerationOptions),
        (reconstruction_verb, ReconstructionOptions),
    ],
)
def test_options_become_a_dataclass_by_name(verb: Callable[..., None], kind: type[Any]) -> None:
    """Every field is an option of that type and default.

    An enum of names counts as text, and a tokenizer, which may be a URL, as the path of its copy.
    """
    wanted = inspect.signature(verb).parameters
    offered, fields = get_type_hints(verb), get_type_hints(kind)
    for field in dataclasses.fields(kind):
        option = offered[field.name]
        is_name = option in (options.WeightsName, Compile)
        found = str if is_name else Path | None if field.name == "tokenizer" else option
        assert found == fields[field.name], field.name
        if field.default is not dataclasses.MISSING:
            assert field.default == wanted[field.name].default, field.name
    assert set(wanted) - set(fields) <= {"run", "data", "data_settings", "heldout", "settings"}


def test_a_place_that_cannot_be_written_is_told_before_work(tmp_path: Path) -> None:
    """None at all, or one below a file; what is there may be gone on with."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "new" / "a.vgs", tmp_path, f"file://{tmp_path}/new", "s3://a/b.vgs"):
        options.require_out(place)
    for wrong, words in (("", "--out is empty"), (tmp_path / "file" / "a", "file is a file: ")):
        with pytest.raises(InputError, match=words):
            options.require_out(wrong)


def test_a_file_url_is_a_place_on_this_disk(tmp_path: Path) -> None:
    """Looked at before anything is loaded, and written to as its path would be."""
    (tmp_path / "run").mkdir()
    there, gone = f"file://{tmp_path}/run", f"file://{tmp_path}/gone"
    options.require_there(there, options.RUN)
    assert options.local(there) == tmp_path / "run"
    assert options.report_place(there, None) is None
    with pytest.raises(InputError, match="gone does not exist: name a run directory"):
        options.require_there(gone, options.RUN)
    options.require_there("s3://bucket/run", options.RUN)
    with pytest.raises(InputError, match="name a folder for the report with --out"):
        options.report_place("s3://bucket/run", None)
