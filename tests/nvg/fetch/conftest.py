"""A served folder, and a cache of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nvg.fetch.makers import FileServer, serving


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that is served."""
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def server(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The server."""
    monkeypatch.setattr("nvg.fetch.download.PAUSE", 0.0)
    with serving(folder) as running:
        yield running
