"""What is open, and which requests are for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.format.base import StoreError
from pipeline.studio.models import Models, StudioOptions, open_models, require_photos
from tests.nvg.store.makers import empty_store
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.sampling.makers import KEPT, tokens_reference
from tests.pipeline.studio.makers import FREE, row_reference


def test_the_page_is_told_what_is_open(models: Models) -> None:
    """Geometry, classes, defaults, what a setting may be; all of it JSON."""
    facts = json.loads(json.dumps(models.facts()))
    assert facts["classes"] == ["ant", "bee", "cat"]
    assert (facts["grid"], facts["K"], facts["stages"], facts["image_size"]) == (4, 4, 5, 8)
    assert facts["defaults"]["flow_steps"] == models.generators.settings.flow_steps
    assert facts["choices"]["solver"] == ["euler", "midpoint", "heun"]
    assert set(facts["choices"]) < set(facts["defaults"])
    assert facts["store"] == {"path": models.options.store, "rows": 10, "usable": True}
    assert facts["photo"] is True


def test_requests_are_completed(models: Models) -> None:
    """Run, weights and settings of their own; none but these."""
    request = models.complete(FREE)
    assert request.run == str(models.options.run)
    assert request.settings.flow_steps == 2
    assert request.settings.top_p == models.generators.settings.top_p
    assert models.complete(request.as_json()) == request
    for other in ({"run": "/etc"}, {"weights": "raw"}, {"checkpoint": 8}):
        with pytest.raises(InputError, match="name no other"):
            models.complete({**FREE, **other})
    with pytest.raises(InputError, match="there is no class 7"):
        models.complete({**FREE, "classes": [7]})


def test_requests_of_another_run_are_restored(models: Models) -> None:
    """With a word on what is different."""
    request = models.complete(FREE)
    assert models.restored(request.as_json()) == (request, [])
    table = request.as_json() | {"run": "elsewhere", "checkpoint": 5}
    assert models.restored(table) == (
        request,
        ["made with the run elsewhere, weights ema, step 5"],
    )


def test_only_the_store_that_is_open_is_read(models: Models) -> None:
    """Its rows, and tokens of the run's tokenizer."""
    found = models.complete({**FREE, "keep": KEPT, "reference": row_reference(models)}).reference
    assert found
    tokens = models.as_tokens(models.sequences(found), name="row")
    again = models.complete({**FREE, "keep": KEPT, "reference": tokens}).reference
    assert again
    assert models.sequences(again).content.tolist() == models.sequences(found).content.tolist()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"store": "/etc/other.vgs", "row": 1}, "start the studio with --store /etc/other.vgs"),
        (tokens_reference("x"), "tokens of tokenizer x"),
    ]
    for reference, words in wrong:
        with pytest.raises(InputError, match=words):
            models.complete({**FREE, "keep": KEPT, "reference": reference})


def test_what_does_not_belong_together_is_refused(models: Models, tmp_path: Path) -> None:
    """Another tokenizer, an empty store, no run; photos without a tokenizer."""
    run = models.options.run
    write_autoencoder(tmp_path / "tokenizer", seed=5)
    with pytest.raises(InputError, match="is not the tokenizer"):
        open_models(StudioOptions(run=run, tokenizer=tmp_path / "tokenizer"))
    store = empty_store(tmp_path / "part.vgs", rows=10)
    with pytest.raises(StoreError, match="has no rows yet"):
        open_models(StudioOptions(run=run, store=store.path))
    with pytest.raises(InputError, match="holds no content"):
        open_models(StudioOptions(run=tmp_path))
    found = open_models(StudioOptions(run=run / "checkpoints" / "step-00000008"))
    assert found.checkpoint == 8
    assert found.facts()["store"] is None
    assert found.complete(FREE).checkpoint == 8
    with pytest.raises(InputError, match="start the studio with --tokenizer"):
        require_photos(found)


def test_a_request_is_put_in_words(models: Models) -> None:
    """A command, lines, and the files that they read."""
    words = models.words(models.complete({**FREE, "drawing": {"regions": [0, 1] * 8}}))
    command = f"nvgctl sample {models.options.run} --label bee --label ant"
    assert words["command"].startswith(command)
    assert words["python"].startswith("import nvg\n")
    assert words["files"] == ["drawing.png"]
