"""The whole recipe: every loss at once, EMA weights, dead codes, an exact resume."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.distributed import World
from nvg.errors import InputError, WorkError
from nvg.quantizer.codebook import DeadCodes
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, Autoencoder
from nvg.training.autoencoder.config import (
    AutoencoderPart,
    AutoencoderTraining,
    DiscriminatorKind,
)
from nvg.training.autoencoder.train import train_autoencoder
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from nvg.training.checkpoint import OLDER_NAMES
from nvg.training.run_dir import Run
from nvg.weights import CheckpointError
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model, write_autoencoder
from tests.nvg.training.autoencoder.makers import everything
from tests.nvg.training.makers import Pictures, differing, lines_of, state_of

ALONE = World(0, 1, torch.device("cpu"))

# V code, C latent channel, R residual
TERMS = ("l1", "l2", "perceptual", "quantizer", "entropy", "g_loss", "d_loss", "d_lecam")


def fit(
    out: Path,
    training: AutoencoderTraining,
    resume: bool = False,
    start: Path | None = None,
    grid: int = 4,
) -> None:
    """Train on eight pictures."""
    run = Run(out, tiny_recipe(), resume, ("autoencoder",))
    train_autoencoder(tiny_model(grid), training, Pictures(8, 2 * grid), None, run, start)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "is_older"), [(DiscriminatorKind.DINO, False), (DiscriminatorKind.PATCH, True)]
)
def test_every_term_is_logged_and_a_resumed_run_is_exact(
    tmp_path: Path, vit_weights: Path, kind: DiscriminatorKind, is_older: bool
) -> None:
    """All terms have a curve; cut after four of eight steps, all ends equal to the bit.

    So it does from a checkpoint whose files have the names of version 0.1.
    """
    training, grid = everything(kind, vit_weights), 16
    fit(tmp_path / "whole", training, grid=grid)
    lines = lines_of(tmp_path / "whole" / "metrics.jsonl")[1:]
    assert len(lines) == 8
    for name in TERMS:
        assert all(name in line for line in lines), name
    assert [line["d_loss"] == 0 for line in lines] == [True] * 2 + [False] * 6
    assert lines[-1]["adaptive_weight"] > 0
    assert any(line["revived"] > 0 for line in lines)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / AUTOENCODER_FILE).unlink()
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000008")
    checkpoint = tmp_path / "cut" / "checkpoints" / "step-00000004"
    for name, older in OLDER_NAMES.items():
        if is_older:
            (checkpoint / name).rename(checkpoint / older)
    fit(tmp_path / "cut", training, resume=True, grid=grid)
    assert differing(state_of(tmp_path / "cut"), state_of(tmp_path / "whole")) == []
    again = lines_of(tmp_path / "cut" / "metrics.jsonl")[1:]
    assert again == lines


def weight_of(model: Autoencoder) -> torch.Tensor:
    """One of its weights."""
    return model.encoder.get_parameter("to_latent.weight")


def test_ema_weights_follow() -> None:
    """After a step they lie between the weights before and after; decay 0 leaves the last."""
    images = Pictures(4).batch(torch.arange(4).numpy())
    for decay in (0.0, 0.999):
        torch.manual_seed(0)
        training = AutoencoderTraining(steps=4, batch_size=4, warmup=0, lr=0.01, ema=decay)
        trainer = AutoencoderTrainer(tiny_model(), training)
        before = weight_of(trainer.model).detach().clone()
        trainer.step(0, [images])
        after = weight_of(trainer.model).detach()
        share = 0.1 if decay else 0.0  # (1 + 0) / (10 + 0)
        expected = before * share + after * (1 - share)
        found = weight_of(trainer.ema_model())
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("clip", [0.25, 1e3])
def test_gradients_are_clipped_and_averaged_by_the_betas(clip: float) -> None:
    """AdamW's averages after one step: of a gradient whose norm over all weights is the clip."""
    torch.manual_seed(0)
    training = AutoencoderTraining(steps=4, batch_size=4, warmup=0, betas=(0.7, 0.8), clip=clip)
    trainer = AutoencoderTrainer(tiny_model(), training)
    norm = float(trainer.step(0, [Pictures(4).batch(torch.arange(4).numpy())])["norm"])
    assert 0.25 < norm < 1e3, "one of the clips is below the norm, the other above"
    averages = list(trainer.optimizer.state.values())
    gradients = [state["exp_avg"] / (1 - 0.7) for state in averages]
    total = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    assert total == pytest.approx(min(norm, clip), rel=1e-4)
    for state, gradient in zip(averages, gradients, strict=True):
        torch.testing.assert_close(state["exp_avg_sq"], (1 - 0.8) * gradient**2)


def test_dead_codes_become_residuals() -> None:
    """Only those unused for long enough; their momentum is forgotten, the others' stays."""
    codebook = torch.nn.Parameter(torch.zeros(4, 2))
    optimizer = torch.optim.AdamW([codebook], lr=0.0)
    codebook.grad = torch.ones(4, 2)
    optimizer.step()
    dead = DeadCodes(4, 2, torch.device("cpu"))
    means = torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    counts = []
    for content in ([[0, 1]], [[0, 2]], [[0, 1]]):
        used = torch.tensor(content)
        counts.append(int(dead.revive(used, [(0, means)], 2, codebook, optimizer, ALONE)))
    assert counts == [0, 1, 0]
    assert codebook[3].tolist() in means.tolist()
    assert not codebook[:3].any()
    moment = optimizer.state[codebook]["exp_avg"]
    assert bool((moment[:3] != 0).all())
    assert not moment[3].any()
    patient = DeadCodes(4, 0, torch.device("cpu"))
    assert int(patient.revive(used, [(0, means)], 2, codebook, optimizer, ALONE)) == 0


def test_a_run_starts_from_given_weights(tmp_path: Path) -> None:
    """With a rate of 0 they come out as they went in; other sizes are refused."""
    write_autoencoder(tmp_path / "start", seed=3)
    training = AutoencoderTraining(steps=1, batch_size=4, lr=0.0)
    fit(tmp_path / "run", training, start=tmp_path / "start")
    expected = tiny_autoencoder(3).state_dict()
    assert differing(state_of(tmp_path / "run"), expected) == []
    write_autoencoder(tmp_path / "other", config=tiny_model(4, 32))
    with pytest.raises(CheckpointError, match="another"):
        fit(tmp_path / "run2", training, start=tmp_path / "other")


def test_a_run_may_go_on_with_another_builder() -> None:
    """Structure has no weights: those of a greedy tokenizer start one that counts place."""
    config = replace(tiny_model(), builder="greedy+space", space_weight=0.7)
    trainer = AutoencoderTrainer(config, AutoencoderTraining(steps=1, batch_size=4))
    trainer.adopt(tiny_autoencoder(3))
    assert differing(trainer.model.state_dict(), tiny_autoencoder(3).state_dict()) == []
    assert trainer.model.config == config


def test_images_too_small_for_lpips_are_refused(vit_weights: Path) -> None:
    """VGG16 pools four times: 8 pixels leave nothing."""
    with pytest.raises(InputError, match="images of 8 pixels are too small for LPIPS"):
        AutoencoderTrainer(tiny_model(), everything(DiscriminatorKind.DINO, vit_weights))


def test_frozen_parts_keep_their_weights(tmp_path: Path) -> None:
    """Only the quantizer moves, with all losses on."""
    write_autoencoder(tmp_path / "start", seed=3)
    training = AutoencoderTraining(
        steps=3,
        batch_size=4,
        lr=0.01,
        frozen=(AutoencoderPart.ENCODER, AutoencoderPart.DECODER),
        dead_code_after=1,
    )
    fit(tmp_path / "run", training, start=tmp_path / "start")
    moved = differing(state_of(tmp_path / "run"), tiny_autoencoder(3).state_dict())
    assert moved
    assert {name.split(".")[0] for name in moved} == {"quantizer"}


def test_weights_that_are_no_numbers_stop_the_run(tmp_path: Path) -> None:
    """With the step and the images, though the next step's structure fails first."""
    training = AutoencoderTraining(steps=20, batch_size=4, warmup=0, lr=1e30, clip=1e30)
    with pytest.raises(WorkError, match=r"step \d+: .*(NaN|non-finite).*lower the learning rate"):
        fit(tmp_path / "run", training)
