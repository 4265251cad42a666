"""Ray clusters: two nodes, a node that is lost, a worker that is killed, GPUs, errors of workers.

The nodes are Ray's own, all on this machine; a GPU among their resources is a number only.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from nvg.store import open_store, store_exists
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder

# Ray warns about defaults and files of its own.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
IMAGES, CHUNK_ROWS = 450, 3
QUIET = {"include_dashboard": False}


@dataclass
class Work:
    """A recipe over many small chunks, and the files of its undisturbed store."""

    recipe: Recipe
    calm: dict[str, bytes]


@pytest.fixture(scope="module")
def work(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Made with one thread, as workers do: the last bit of a residual depends on them."""
    folder = tmp_path_factory.mktemp("cluster")
    write_image_folder(folder / "images", per_class=IMAGES // 3)
    recipe = tiny_recipe(folder / "images", tokenize=TokenizeConfig(chunk_rows=CHUNK_ROWS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokenize_dataset(recipe, tokenizer, str(folder / "calm.vgs"))
    torch.set_num_threads(threads)
    return Work(recipe, files_below(folder / "calm.vgs"))


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster with a head of one CPU, to which a test adds nodes. Of its own: nodes die here."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **QUIET})
    yield made
    ray.shutdown()
    made.shutdown()


def when_committed(out: Path, chunks: int, act: Callable[[], None]) -> threading.Thread:
    """Do something once so many chunks are committed."""

    def wait() -> None:
        while not store_exists(str(out)) or len(open_store(str(out)).committed()) < chunks:
            time.sleep(0.05)  # each look opens the store
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def workers() -> list[psutil.Process]:
    """The Ray processes of this test that hold an encoder."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith("ray::MapWorker"):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def test_two_nodes_lose_one(cluster: Any, work: Work, tokenizer: Path, tmp_path: Path) -> None:
    """Both work until one is gone with its worker; the other does the rest, the bytes are equal."""
    import ray

    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    out, seen = tmp_path / "a.vgs", list[int]()

    def lose() -> None:
        seen.append(len(open_store(str(out)).committed()))
        cluster.remove_node(node, allow_graceful=False)

    thread = when_committed(out, 8, lose)
    report = tokenize_dataset(work.recipe, tokenizer, str(out), Engine.RAY, address=cluster.address)
    thread.join()
    assert "2 encoders on 2 CPUs" in report.work.resources
    assert 8 <= seen[0] < IMAGES // CHUNK_ROWS
    assert [entry["Alive"] for entry in ray.nodes()].count(True) == 1
    assert files_below(out) == work.calm


def test_a_killed_worker(work: Work, tokenizer: Path, tmp_path: Path) -> None:
    """kill -9 of an encoder in the middle: Ray starts another, the bytes are equal."""
    import ray

    ray.shutdown()
    out, killed = tmp_path / "a.vgs", list[int]()

    def kill() -> None:
        victim = workers()[0]
        killed.append(victim.pid)
        victim.kill()

    threads = [when_committed(out, chunks, kill) for chunks in (8, 60)]
    tokenize_dataset(work.recipe, tokenizer, str(out), Engine.RAY)
    for thread in threads:
        thread.join()
    ray.shutdown()
    assert len(set(killed)) == 2
    assert files_below(out) == work.calm


def test_gpu_encoders_between_decoders_and_committers(
    cluster: Any, work: Work, tokenizer: Path, tmp_path: Path
) -> None:
    """With GPUs decoding, encoding and committing are steps of their own; the bytes are equal."""
    cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.wait_for_nodes()
    out = tmp_path / "a.vgs"
    threads = torch.get_num_threads()
    report = tokenize_dataset(work.recipe, tokenizer, str(out), Engine.RAY, address=cluster.address)
    assert torch.get_num_threads() == threads
    assert "1 encoders on 2 CPUs and 1 GPUs" in report.work.resources
    assert open_store(str(out)).verify() == []
    same = [name for name, data in files_below(out).items() if data == work.calm[name]]
    assert len(same) > 0.9 * len(work.calm)


def test_an_error_in_a_worker_is_that_error(
    cluster: Any, work: Work, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its type and words arrive, not Ray's account of them; what was committed stays."""
    out = tmp_path / "a.vgs"

    def spoil() -> None:
        (out / "manifest.json").write_text("no metadata")

    thread = when_committed(out, 5, spoil)
    with pytest.raises(Exception, match=r"manifest\.json is not JSON") as caught:
        tokenize_dataset(work.recipe, tokenizer, str(out), Engine.RAY, address=cluster.address)
    thread.join()
    assert not type(caught.value).__module__.startswith("ray")
    assert len(list((out / "staging").rglob("*.parquet"))) >= 5
