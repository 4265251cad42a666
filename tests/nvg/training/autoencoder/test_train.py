"""Training of the tokenizer on a handmade source: what it reads, learns, leaves and refuses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.choices import TrainingCrop
from nvg.metrics.reconstruction import Reconstruction
from nvg.quantizer.config import CodebookInit
from nvg.seeding import step_seed
from nvg.structure import build_leaves
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, Autoencoder, from_pixels, load_autoencoder
from nvg.tokenizer.image_batch import RandomCrop
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.train import train_autoencoder
from nvg.training.run_dir import Run
from nvg.weights import CheckpointError, weights_bytes
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder
from tests.nvg.training.makers import Pictures, differing, lines_of, state_of

SHORT = AutoencoderTraining(
    steps=6, batch_size=4, lr=1e-3, warmup=1, log_every=1, checkpoint_every=2
)


def fit(
    out: Path, images: Any, training: AutoencoderTraining = SHORT, resume: bool = False
) -> Reconstruction | None:
    """Train the tiny model into `out` without held-out images."""
    section = replace(tiny_recipe().autoencoder, train=training)
    run = Run(out, tiny_recipe(autoencoder=section), resume, ("autoencoder",))
    return train_autoencoder(tiny_model(), training, images, None, run)


@pytest.mark.thorough
def test_it_learns_to_reconstruct(tmp_path: Path) -> None:
    """The loss on a handful of images falls to less than half."""
    training = replace(SHORT, steps=60, lr=3e-3, log_every=10, checkpoint_every=60)
    fit(tmp_path, Pictures(4), training)
    losses = [line["l2"] for line in lines_of(tmp_path / "metrics.jsonl")[1:]]
    assert losses[-1] < losses[0] / 2


@pytest.mark.thorough
def test_every_image_is_seen_once_an_epoch(tmp_path: Path) -> None:
    """Twelve images in batches of four: three steps are a permutation, the next three another."""
    images = Pictures(12)
    fit(tmp_path, images)
    steps = images.asked[1:]  # the first batch is read once more, to initialize the codebook
    assert images.asked[0] == steps[0]
    epochs = [[row for rows in part for row in rows] for part in (steps[:3], steps[3:])]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1]


@pytest.mark.thorough
def test_every_step_draws_crops_of_its_own(tmp_path: Path) -> None:
    """The seed of each is the step's, resumed or not; by default nothing is drawn."""
    plain, cropped, resumed = Pictures(12), Pictures(12), Pictures(12)
    training = replace(SHORT, crop=TrainingCrop.RANDOM, crop_resize=1.5, seed=3)
    fit(tmp_path / "plain", plain)
    fit(tmp_path / "cropped", cropped, training)
    assert plain.crops == [None] * 7
    expected = [RandomCrop(step_seed(3, step), 1.5) for step in (0, *range(6))]
    assert cropped.crops == expected
    assert len(set(expected)) == 6
    (tmp_path / "cropped" / AUTOENCODER_FILE).unlink()
    shutil.rmtree(tmp_path / "cropped" / "checkpoints" / "step-00000006")
    fit(tmp_path / "cropped", resumed, training, resume=True)
    assert (resumed.asked, resumed.crops) == (cropped.asked[-2:], cropped.crops[-2:])


def test_a_source_smaller_than_a_batch_is_used_whole(tmp_path: Path) -> None:
    """Three images for a batch of four: every step sees all three."""
    images = Pictures(3)
    fit(tmp_path, images, replace(SHORT, steps=2))
    assert [sorted(rows) for rows in images.asked] == [[0, 1, 2]] * 3


@pytest.mark.thorough
def test_same_seed_same_weights(tmp_path: Path) -> None:
    """Two runs of one seed end with equal weights, another seed with others."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(tmp_path / name, Pictures(8), replace(SHORT, seed=seed))
    first, second, third = (state_of(tmp_path / name) for name in "abc")
    assert differing(first, second) == []
    assert len(differing(first, third)) > len(first) / 2


@pytest.mark.thorough
@pytest.mark.parametrize("every", [2, 4, 5])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, every: int) -> None:
    """Continued from a checkpoint, inside a window of the log too, all ends equal to the bit."""
    training = replace(SHORT, log_every=3, checkpoint_every=every)
    fit(tmp_path / "whole", Pictures(8), training)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / AUTOENCODER_FILE).unlink()
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000006")
    fit(tmp_path / "cut", Pictures(8), training, resume=True)
    assert differing(state_of(tmp_path / "cut"), state_of(tmp_path / "whole")) == []
    logs = [lines_of(tmp_path / name / "metrics.jsonl") for name in ("cut", "whole")]
    assert logs[0] == logs[1]


def test_the_codebook_starts_from_residuals_of_real_images(tmp_path: Path) -> None:
    """With a rate of 0 the codebook is what it was at step 0: differences of cluster means."""
    images = Pictures(4)
    fit(tmp_path, images, replace(SHORT, steps=1, lr=0.0))
    model = load_autoencoder(tmp_path)
    with torch.no_grad():
        latents = model.encoder(from_pixels(torch.from_numpy(images.images)))
    leaves, pool = build_leaves(latents).long(), []
    for stage in range(5):
        for image in range(4):
            for cluster in range(2**stage):
                mean, parent = (
                    latents[image, leaves[image] >> (4 - level) == label].mean(0)
                    for level, label in ((stage, cluster), (max(stage - 1, 0), cluster // 2))
                )
                pool.append(mean - parent if stage else mean)
    distance = torch.cdist(model.quantizer.codebook.detach(), torch.stack(pool))
    assert float(distance.min(1).values.max()) < 1e-3


@pytest.mark.parametrize("init", list(CodebookInit))
def test_the_start_of_the_codebook_is_logged(tmp_path: Path, init: CodebookInit) -> None:
    """The first line of the metrics says how the codebook began and what each stage uses of it."""
    fit(tmp_path, Pictures(12), replace(SHORT, steps=1, lr=0.0, codebook_init=init))
    first = lines_of(tmp_path / "metrics.jsonl")[0]
    assert (first["step"], first["codebook_init"]) == (0, init.value)
    assert len(first["stage_usage"]) == 5
    assert all(0 < share <= 1 for share in first["stage_usage"])


def test_kmeans_collects_the_residuals_it_wants(tmp_path: Path) -> None:
    """64 residuals a code, 31 an image, are more than 12 images have: all are read, once."""
    images = Pictures(12)
    training = replace(SHORT, steps=1, codebook_init=CodebookInit.KMEANS)
    fit(tmp_path / "kmeans", images, training)
    assert sorted(row for rows in images.asked[:3] for row in rows) == list(range(12))
    plain = Pictures(12)
    fit(tmp_path / "sample", plain, replace(training, codebook_init=CodebookInit.SAMPLE))
    assert len(images.asked) - len(plain.asked) == 2


@pytest.mark.thorough
def test_held_out_images_are_measured_and_not_trained_on(tmp_path: Path) -> None:
    """The result counts exactly the held-out images; without any there is none."""
    images, heldout = Pictures(8), Pictures(5)
    run = Run(tmp_path / "run", tiny_recipe(), False, ("autoencoder",))
    measures = train_autoencoder(tiny_model(), SHORT, images, heldout, run)
    assert measures is not None
    assert measures.images == 5
    assert [row for rows in heldout.asked for row in rows] == list(range(5))
    assert fit(tmp_path / "other", Pictures(8)) is None


@pytest.mark.parametrize(("warmup", "rate"), [(0, 1e-3), (10, 1e-4)])
def test_the_schedule_sets_the_rate(tmp_path: Path, warmup: int, rate: float) -> None:
    """Adam's first step moves the weights by the rate itself: a tenth of it in step 0 of 10."""
    for name, lr in (("moved", 1e-3), ("still", 0.0)):
        fit(tmp_path / name, Pictures(4), replace(SHORT, steps=1, warmup=warmup, lr=lr, ema=0))
    moved, still = (state_of(tmp_path / name) for name in ("moved", "still"))
    change = max(float((moved[name] - still[name]).abs().max()) for name in moved)
    assert change == pytest.approx(rate, rel=0.02)


def test_the_weights_carry_their_config(tmp_path: Path) -> None:
    """A run directory and the file in it load to the same model, in eval mode."""
    fit(tmp_path, Pictures(4))
    one, other = load_autoencoder(tmp_path), load_autoencoder(tmp_path / AUTOENCODER_FILE)
    assert one.config == other.config == tiny_model()
    assert not one.training
    assert differing(one.state_dict(), other.state_dict()) == []


@pytest.mark.parametrize("damage", ["no weights", "text", "cut", "empty", "other shape", "absent"])
def test_weights_that_cannot_be_used_are_refused(tmp_path: Path, damage: str) -> None:
    """One error kind, and the message names the file or directory."""
    model: Autoencoder = write_autoencoder(tmp_path / "run")
    file = tmp_path / "run" / AUTOENCODER_FILE
    data = file.read_bytes()
    if damage == "no weights":
        file.unlink()
    elif damage == "absent":
        file = tmp_path / "nowhere.safetensors"
    elif damage == "other shape":
        config = replace(model.config, latent_dim=8)
        file.write_bytes(weights_bytes(model.state_dict(), config))
    else:
        file.write_bytes({"text": b"not weights", "cut": data[:-100], "empty": b""}[damage])
    named = tmp_path / "run" if damage == "no weights" else file
    with pytest.raises(CheckpointError, match=str(named)):
        load_autoencoder(named)
