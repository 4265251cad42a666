"""Copies of small finished runs."""

import shutil
from pathlib import Path

import pytest

from tests.processes import ROOT

KEPT = ROOT / "tests" / "golden" / "v0.1"


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    """A finished run of a tokenizer."""
    return Path(shutil.copytree(KEPT / "autoencoder", tmp_path / "runs" / "autoencoder"))


@pytest.fixture
def generators(tmp_path: Path) -> Path:
    """A finished run of the generators of that tokenizer."""
    return Path(shutil.copytree(KEPT / "generator", tmp_path / "runs" / "generator"))
