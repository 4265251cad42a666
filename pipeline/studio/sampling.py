"""A job through the sampler: what its page is told after each stage."""

import time
from collections.abc import Callable

from PIL import Image

from nvg.sampling.sampler import Stage
from nvg.view.figures import tiles_of
from pipeline.sampling.request_png import with_request
from pipeline.studio.job import Job
from pipeline.studio.models import Models
from pipeline.studio.pictures import data_uri, stage_pictures

LEAST_SECONDS = 0.1  # between two words on the progress


class Progress:
    """Counts evaluations of the networks; stops them where the job is not wanted any more."""

    def __init__(self, job: Job, steps: list[int]) -> None:
        self.job, self.of, self.done, self.stage = job, sum(steps), 0, 0
        self.began = self.told = time.monotonic()

    def step(self) -> None:
        """Before each evaluation."""
        self.job.require_wanted()
        self.done += 1
        now = time.monotonic()
        if now - self.told >= LEAST_SECONDS:
            self.told = now
            left = (now - self.began) / self.done * (self.of - self.done)
            self.job.tell(
                "progress",
                done=self.done,
                of=self.of,
                stage=self.stage,
                seconds_left=round(left, 1),
            )


def sample_job(models: Models, job: Job, between: Callable[[], None]) -> None:
    """Sample what a job asks for, telling its page of every stage; `between` stages do that."""
    request, generators, geometry = job.request, models.generators, models.geometry
    reference = models.sequences(request.reference) if request.reference else None
    control = request.control(reference, geometry)
    sampler = generators.sampler(request.settings)
    progress, began = Progress(job, sampler.steps(control)), time.monotonic()
    label_B, images = sampler.on_device(request.labels), range(request.count)
    made: list[Stage] = []
    for stage in sampler.batch_stages(label_B, images, request.seed, control, progress.step):
        made.append(stage)
        pixels = generators.detokenizer.render(stage.canvas)
        job.tell(
            "stage",
            stage=stage.stage,
            clusters=geometry.clusters(stage.stage),
            seconds=round(time.monotonic() - began, 3),
            images=stage_pictures(stage.structure, pixels, stage.stage, geometry),
        )
        progress.stage = stage.stage + 1
        between()
    words, sequences = models.words(request), sampler.joined(label_B, made).sequences
    whole = [
        {
            "label": label,
            "png": data_uri(with_request(Image.fromarray(tile), words["request"], image)),
            "leaves": sequences.leaves[image].tolist(),
            "content": sequences.content[image].tolist(),
        }
        for image, (label, tile) in enumerate(zip(request.labels, tiles_of(pixels), strict=True))
    ]
    job.tell("done", seconds=round(time.monotonic() - began, 3), images=whole, **words)
