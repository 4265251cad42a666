"""The public names of `nvg`, imported on first use."""

import subprocess
import sys

import pytest

import nvg

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
