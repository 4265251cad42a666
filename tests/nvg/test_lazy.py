"""The public names of `nvg`, imported on first use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nvg
from nvg.errors import InputError
from nvg.lazy import own_function

NAMES = [
    "Autoencoder",
    "ContentGenerator",
    "Geometry",
    "MultiGranularityQuantizer",
    "SamplerConfig",
    "SequenceLoader",
    "StructureGenerator",
    "Tokenizer",
    "build_leaves",
    "load_autoencoder",
    "load_generators",
    "load_tokenizer",
    "open_store",
]


def test_the_face_has_these_names() -> None:
    """Each comes from a module of the library."""
    assert dir(nvg) == NAMES
    for name in NAMES:
        assert getattr(nvg, name).__module__.startswith("nvg.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Like any module, so that hasattr and `from nvg import` work."""
    with pytest.raises(AttributeError, match="module 'nvg' has no attribute 'nothing'"):
        getattr(nvg, "nothing")  # noqa: B009
    assert not hasattr(nvg, "nothing")


def test_importing_it_imports_no_library() -> None:
    """`import nvg` loads only the standard library."""
    code = """
import sys
before = set(sys.modules)
import nvg
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded - set(sys.stdlib_module_names) - {"nvg"}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_users_function_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though an installed command does not look there; an installed module is found first."""
    (tmp_path / "of_a_user.py").write_text("def build():\n    return 7\n")
    (tmp_path / "json.py").write_text("dumps = None\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert own_function("of_a_user:build", "builder")() == 7
    assert own_function("json:dumps", "builder") is json.dumps
    del sys.modules["of_a_user"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such:build", "there is no module no_such in .*, and none is installed"),
        ("json:build", "build is not in it"),
        ("json:", " is not in it"),
        (":build", "Empty module name"),
        ("of_a_user:build", "there is no module no_such_either in"),
        ("broken:build", "it is broken"),
    ],
)
def test_what_a_user_names_and_is_not_there_is_said(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, whatever the module does."""
    (tmp_path / "of_a_user.py").write_text("import no_such_either\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('it is broken\\nat length')\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^builder '{name}' cannot be imported: {words}"):
        own_function(name, "builder")
