"""One run, its store and a tokenizer, opened once; a worker over them."""

from collections.abc import Iterator

import pytest

from pipeline.studio.models import Models, StudioOptions, open_models
from pipeline.studio.worker import Worker
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.sampling.makers import write_far_run


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A run of three classes on a grid of 4x4, ten stored rows, and the tokenizer of both."""
    root = tmp_path_factory.mktemp("studio")
    run, tokenizer = write_far_run(root), root / "tokenizer"
    write_autoencoder(tokenizer)
    store = str(root / "tokens.vgs")
    return open_models(StudioOptions(run=run, store=store, tokenizer=tokenizer))


@pytest.fixture
def worker(models: Models) -> Iterator[Worker]:
    """A worker of its own."""
    found = Worker(models)
    yield found
    found.close()
    assert not found.thread.is_alive()
