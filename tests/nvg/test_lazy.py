"""The library's face: ten names, imported when first used."""

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
    "build_leaves",
    "load_autoencoder",
    "load_generators",
    "open_store",
]


def test_the_face_has_these_names() -> None:
    """Each is the object of its own module."""
    assert dir(nvg) == NAMES
    for name in NAMES:
        assert getattr(nvg, name).__module__.startswith("nvg.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module, so that hasattr and `from nvg import` behave."""
    with pytest.raises(AttributeError, match="module 'nvg' has no attribute 'nothing'"):
        getattr(nvg, "nothing")  # noqa: B009
    assert not hasattr(nvg, "nothing")


def test_importing_it_imports_no_library() -> None:
    """`import nvg` is the standard library alone."""
    code = """
import sys
before = set(sys.modules)
import nvg
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded - set(sys.stdlib_module_names) - {"nvg"}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
