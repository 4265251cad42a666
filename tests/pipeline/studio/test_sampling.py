"""A job's stages are the sampler's, and its images those of the command."""

from typing import Any

import numpy as np
import pytest
import torch

from nvg.geometry import labels
from nvg.view.palette import structure_tile
from pipeline.sampling.request_png import carried_request
from pipeline.studio.job import Job
from pipeline.studio.models import Models
from pipeline.studio.sampling import sample_job
from tests.pipeline.sampling.makers import HALF, KEPT
from tests.pipeline.studio.makers import FREE, decoded, heard, names, pixels_of, row_reference


def told(models: Models, **parts: Any) -> list[tuple[str, Any]]:
    """The events of a job."""
    job = Job(models.complete({**FREE, **parts}))
    sample_job(models, job, between=lambda: None)
    return heard(job)


@pytest.mark.parametrize("kind", ["free", "drawing", "keep", "region"])
def test_images_are_those_of_the_sampler(models: Models, kind: str) -> None:
    """Pixels, tokens and the canvas of every stage."""
    reference = row_reference(models)
    kinds: dict[str, dict[str, Any]] = {
        "free": {},
        "drawing": {"drawing": {"regions": HALF}},
        "keep": {"reference": reference, "keep": KEPT},
        "region": {"reference": reference, "region": HALF},
    }
    events = told(models, seed=4, **kinds[kind])
    assert names(events) == [*["stage"] * 5, "done"]
    request = models.complete(events[-1][1]["request"])
    found = models.sequences(request.reference) if request.reference else None
    control = request.control(found, models.geometry)
    made = models.generators.batches(request.labels, 4, request.settings, control)
    ((sequences, pixels),) = made
    film, stages = models.film(sequences), [data for name, data in events if name == "stage"]
    for image, answer in enumerate(events[-1][1]["images"]):
        shown = torch.tensor(pixels_of(decoded(answer["png"])))
        assert torch.equal(shown, pixels[image].permute(1, 2, 0))
        assert answer["leaves"] == sequences.leaves[image].tolist()
        assert answer["content"] == sequences.content[image].tolist()
        assert carried_request(decoded(answer["png"])) == (request.as_json(), image)
        for stage in range(5):
            told_of = stages[stage]["images"][image]
            canvas = torch.tensor(pixels_of(decoded(told_of["canvas"])))
            assert torch.equal(canvas, film.canvases[stage][image].permute(1, 2, 0))
            map_N = labels(sequences.leaves[image], stage, 4).numpy()
            colours = pixels_of(decoded(told_of["structure"]))
            assert np.array_equal(colours, structure_tile(map_N, stage, 4))
    assert [data["clusters"] for data in stages] == [1, 2, 4, 8, 16]


def test_the_same_request_gives_the_same_bytes(models: Models) -> None:
    """Restored, it is made again."""
    first = told(models)[-1][1]
    again = told(models, **first["request"])[-1][1]
    assert [image["png"] for image in again["images"]] == [i["png"] for i in first["images"]]


def test_progress_counts_to_the_end(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation of a network once."""
    monkeypatch.setattr("pipeline.studio.sampling.LEAST_SECONDS", 0.0)
    steps = [data for name, data in told(models) if name == "progress"]
    assert [step["done"] for step in steps] == list(range(1, 5 + 3 * 2 + 1))
    assert {step["of"] for step in steps} == {11}
    assert [step["stage"] for step in steps] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert steps[-1]["seconds_left"] == 0
