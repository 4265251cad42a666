"""The adversarial terms against values worked out by hand on tiny tensors, and their schedule."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nvg.config import ConfigError, build
from nvg.training.autoencoder.adversarial import DiscriminatorTrainer, Schedule
from nvg.training.autoencoder.config import DiscriminatorConfig, DiscriminatorKind

PACE = Schedule(steps=100, lr=1e-3, betas=(0.5, 0.9), weight_decay=0.0, clip=10.0)
PLAIN = DiscriminatorConfig(
    kind=DiscriminatorKind.PATCH, start=0.2, ramp=0.1, augment=0.0, consistency=0.0, adaptive=False
)
CPU = torch.device("cpu")


class Mean(nn.Module):
    """A discriminator whose logit is a times the image's mean, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return (self.scale * images.mean((1, 2, 3))).unsqueeze(1).expand(-1, 2)


def discriminator(config: DiscriminatorConfig = PLAIN) -> DiscriminatorTrainer:
    """With the simplest discriminator in place of the real one."""
    made = DiscriminatorTrainer(config, PACE, CPU)
    made.discriminator = Mean()
    made.optimizer = torch.optim.AdamW(made.discriminator.parameters(), lr=1e-3)
    return made


def flat(*values: float) -> Tensor:
    """Images of one colour each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()


def test_hinge_by_hand() -> None:
    """Logits 0.4, 1.2 of real and -0.6, 1.0 of fake: (0.6 + 0) / 2 + (0.4 + 2) / 2 = 1.5."""
    terms = discriminator().discriminator_step(60, flat(0.2, 0.6), flat(-0.3, 0.5))
    assert float(terms["d_loss"]) == pytest.approx(1.5)
    assert float(terms["d_real"]) == pytest.approx(0.8)
    assert float(terms["d_fake"]) == pytest.approx(0.2)
    assert float(terms["d_lecam"]) == pytest.approx(
        (1.6e-1 + 1.44) / 2 * 0 + lecam((0.4, 1.2), (-0.6, 1.0)), rel=1e-4
    )
    # d/da of the loss: mean over (-0.2, 0) + mean over (-0.3, 0.5) = -0.1 + 0.1 = 0.
    assert float(terms["d_norm"]) == pytest.approx(0.0, abs=1e-6)


def lecam(real: tuple[float, ...], fake: tuple[float, ...]) -> float:
    """By hand, after one update of means that start at 0 with decay 0.999."""
    mean_real, mean_fake = 0.001 * sum(real) / len(real), 0.001 * sum(fake) / len(fake)
    beyond = sum(max(r - mean_fake, 0) ** 2 for r in real) / len(real)
    return beyond + sum(max(mean_real - f, 0) ** 2 for f in fake) / len(fake)


def test_lecam_joins_the_loss_and_is_remembered(tmp_path: Path) -> None:
    """Weighted; its running means travel in the checkpoint."""
    made = discriminator(replace(PLAIN, lecam=0.05))
    terms = made.discriminator_step(60, flat(0.2, 0.6), flat(-0.3, 0.5))
    expected = 1.5 + 0.05 * lecam((0.4, 1.2), (-0.6, 1.0))
    assert float(terms["d_loss"]) == pytest.approx(expected, rel=1e-5)
    for name, data in made.files().items():
        (tmp_path / name).write_bytes(data)
    again = discriminator(replace(PLAIN, lecam=0.05))
    again.restore(tmp_path)
    assert float(again.mean_real) == pytest.approx(0.001 * 0.8)
    assert float(again.mean_fake) == pytest.approx(0.001 * 0.2)
    moved = [
        made.discriminator_step(61, flat(0.1), flat(0.3)),
        again.discriminator_step(61, flat(0.1), flat(0.3)),
    ]
    assert moved[0] == moved[1]


def test_the_autoencoders_term_is_minus_the_mean_logit() -> None:
    """And its gradient reaches the images, not the discriminator."""
    made, fake = discriminator(), flat(-0.3, 0.5).requires_grad_()
    term = made.generator_loss(60, fake)
    assert float(term.detach()) == pytest.approx(-0.2)
    term.backward()
    assert fake.grad is not None
    assert float(fake.grad.sum()) == pytest.approx(-2.0)
    assert next(made.discriminator.parameters()).grad is None


def test_consistency_is_the_difference_of_two_looks() -> None:
    """Zero without augmentation; positive with it, and weighted."""
    config = replace(PLAIN, consistency=8.0)
    assert (
        float(discriminator(config).discriminator_step(60, flat(0.2), flat(0.1))["d_consistency"])
        == 0
    )
    torch.manual_seed(0)
    terms = discriminator(replace(config, augment=1.0)).discriminator_step(60, flat(0.2), flat(0.1))
    assert float(terms["d_consistency"]) > 0


def test_it_begins_late_and_grows() -> None:
    """At 20 of 100 steps, over 10 steps, up to the weight; before, nothing is learnt or asked."""
    made = discriminator()
    assert [made.weight(step) for step in (0, 19, 20, 24, 29, 60)] == pytest.approx(
        [0, 0, 0.04, 0.2, 0.4, 0.4]
    )
    before = {name: value.clone() for name, value in made.state_dict().items()}
    terms = made.discriminator_step(19, flat(0.2), flat(0.1))
    assert all(float(value) == 0 for value in terms.values())
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
    assert float(made.generator_loss(19, flat(0.3))) == 0
    assert set(terms) == set(made.discriminator_step(20, flat(0.2), flat(0.1)))


def test_the_first_images_are_blurred() -> None:
    """Over twice the ramp from when it begins; a checkerboard is flat at first, then sharp."""
    board = torch.ones(1, 3, 8, 8)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = -1
    made, seen = discriminator(), []
    made.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for step in (20, 30, 40):
        made.generator_loss(step, board)
    assert float(seen[0].abs().max()) < 0.05
    assert float(seen[1].abs().max()) < 0.5
    assert torch.equal(seen[2], board)


def test_balance_is_the_ratio_of_gradients() -> None:
    """|d loss / dw| over |d term / dw|, within bounds; 1 where it is switched off."""
    layer = nn.Parameter(torch.tensor([1.0, 2.0]))
    loss, term = (3 * layer).sum(), (0.5 * layer).sum()
    made = discriminator(replace(PLAIN, adaptive=True))
    assert float(made.adaptive_weight(loss, term, layer)) == pytest.approx(6.0, rel=1e-5)
    tiny = (1e-4 * layer).sum()
    assert float(made.adaptive_weight(tiny, term, layer)) == pytest.approx(0.015)
    assert float(discriminator().adaptive_weight(loss, term, layer)) == 1


def test_bad_settings_are_named() -> None:
    """DINO without weights, a negative weight, a share beyond one."""
    for table, words in (
        ({"kind": "dino"}, "kind dino needs weights"),
        ({"weight": -1.0}, "weight must not be negative"),
        ({"start": 1.5}, "start must be between 0 and 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(DiscriminatorConfig, table)
