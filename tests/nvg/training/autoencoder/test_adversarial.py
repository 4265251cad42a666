"""The adversarial terms against values worked out by hand on tiny tensors, and their schedule."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nvg.choices import DiscriminatorLoss, GeneratorLoss
from nvg.config import ConfigError, build
from nvg.distributed import World
from nvg.training.autoencoder.adversarial import DiscriminatorTrainer, Schedule
from nvg.training.autoencoder.config import DiscriminatorConfig, DiscriminatorKind

PACE = Schedule(steps=100, lr=1e-3, betas=(0.5, 0.9), weight_decay=0.0, clip=10.0)
PLAIN = DiscriminatorConfig(
    kind=DiscriminatorKind.PATCH, start=0.2, ramp=0.1, augment=0.0, consistency=0.0, adaptive=False
)
ALONE = World(0, 1, torch.device("cpu"))


class Mean(nn.Module):
    """A discriminator whose logit is a times the image's mean, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return (self.scale * images.mean((1, 2, 3))).unsqueeze(1).expand(-1, 2)


def discriminator(config: DiscriminatorConfig = PLAIN) -> DiscriminatorTrainer:
    """With the simplest discriminator in place of the real one."""
    made = DiscriminatorTrainer(config, PACE, ALONE)
    made.discriminator = Mean()
    made.optimizer = torch.optim.AdamW(made.discriminator.parameters(), lr=1e-3)
    return made


def flat(*values: float) -> Tensor:
    """Images of one colour each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()


def test_hinge_by_hand() -> None:
    """Logits 0.4, 1.2 of real and -0.6, 1.0 of fake: (0.6 + 0) / 2 + (0.4 + 2) / 2 = 1.5."""
    terms = discriminator().discriminator_step(60, [(1.0, flat(0.2, 0.6), flat(-0.3, 0.5))])
    assert float(terms["d_loss"]) == pytest.approx(1.5)
    assert float(terms["d_real"]) == pytest.approx(0.8)
    assert float(terms["d_fake"]) == pytest.approx(0.2)
    assert float(terms["d_lecam"]) == pytest.approx(
        (1.6e-1 + 1.44) / 2 * 0 + lecam((0.4, 1.2), (-0.6, 1.0)), rel=1e-4
    )
    # d/da of the loss: mean over (-0.2, 0) + mean over (-0.3, 0.5) = -0.1 + 0.1 = 0.
    assert float(terms["d_norm"]) == pytest.approx(0.0, abs=1e-6)


def test_half_a_hinge_by_hand() -> None:
    """Half of the 1.5 above; the mean logits stay what they are."""
    made = discriminator(replace(PLAIN, loss=DiscriminatorLoss.HALF_HINGE))
    terms = made.discriminator_step(60, [(1.0, flat(0.2, 0.6), flat(-0.3, 0.5))])
    assert float(terms["d_loss"]) == pytest.approx(0.75)
    assert (float(terms["d_real"]), float(terms["d_fake"])) == pytest.approx((0.8, 0.2))


def lecam(real: tuple[float, ...], fake: tuple[float, ...]) -> float:
    """By hand, after one update of means that start at 0 with decay 0.999."""
    mean_real, mean_fake = 0.001 * sum(real) / len(real), 0.001 * sum(fake) / len(fake)
    beyond = sum(max(r - mean_fake, 0) ** 2 for r in real) / len(real)
    return beyond + sum(max(mean_real - f, 0) ** 2 for f in fake) / len(fake)


def test_lecam_joins_the_loss_and_is_remembered(tmp_path: Path) -> None:
    """Weighted; its running means travel in the checkpoint."""
    made = discriminator(replace(PLAIN, lecam=0.05))
    terms = made.discriminator_step(60, [(1.0, flat(0.2, 0.6), flat(-0.3, 0.5))])
    expected = 1.5 + 0.05 * lecam((0.4, 1.2), (-0.6, 1.0))
    assert float(terms["d_loss"]) == pytest.approx(expected, rel=1e-5)
    for name, data in made.files().items():
        (tmp_path / name).write_bytes(data)
    again = discriminator(replace(PLAIN, lecam=0.05))
    again.restore(tmp_path)
    assert float(again.mean_real) == pytest.approx(0.001 * 0.8)
    assert float(again.mean_fake) == pytest.approx(0.001 * 0.2)
    moved = [
        made.discriminator_step(61, [(1.0, flat(0.1), flat(0.3))]),
        again.discriminator_step(61, [(1.0, flat(0.1), flat(0.3))]),
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


def test_the_non_saturating_term_by_hand() -> None:
    """log(1 + e^-logit) of logits -0.6 and 1.0, by image; its gradient is minus a sigmoid."""
    made = discriminator(replace(PLAIN, generator_loss=GeneratorLoss.NON_SATURATING))
    fake = flat(-0.3, 0.5).requires_grad_()
    term = made.generator_loss(60, fake)
    expected = (math.log1p(math.exp(0.6)) + math.log1p(math.exp(-1.0))) / 2
    assert float(term.detach()) == pytest.approx(expected)
    term.backward()
    assert fake.grad is not None
    slopes = [-2 / (1 + math.exp(logit)) / 2 for logit in (-0.6, 1.0)]
    assert fake.grad.sum((1, 2, 3)).tolist() == pytest.approx(slopes)


def test_the_non_saturating_term_takes_the_mean_of_an_images_logits() -> None:
    """Logits -4 and 8 of one image count as 2, not as two terms."""
    made = discriminator(replace(PLAIN, generator_loss=GeneratorLoss.NON_SATURATING))
    made.discriminator.forward = lambda images: torch.tensor([[-4.0, 8.0]])  # type: ignore
    assert float(made.generator_loss(60, flat(0.1))) == pytest.approx(math.log1p(math.exp(-2)))


def test_consistency_is_the_difference_of_two_looks() -> None:
    """Zero without augmentation; positive with it, and weighted."""
    config = replace(PLAIN, consistency=8.0)
    assert (
        float(
            discriminator(config).discriminator_step(60, [(1.0, flat(0.2), flat(0.1))])[
                "d_consistency"
            ]
        )
        == 0
    )
    torch.manual_seed(0)
    terms = discriminator(replace(config, augment=1.0)).discriminator_step(
        60, [(1.0, flat(0.2), flat(0.1))]
    )
    assert float(terms["d_consistency"]) > 0


def test_it_begins_late_and_grows() -> None:
    """At 20 of 100 steps, over 10 steps, up to the weight; before, nothing is learnt or asked."""
    made = discriminator()
    assert [made.weight(step) for step in (0, 19, 20, 24, 29, 60)] == pytest.approx(
        [0, 0, 0.04, 0.2, 0.4, 0.4]
    )
    before = {name: value.clone() for name, value in made.state_dict().items()}
    terms = made.discriminator_step(19, [(1.0, flat(0.2), flat(0.1))])
    assert all(float(value) == 0 for value in terms.values())
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
    assert float(made.generator_loss(19, flat(0.3))) == 0
    assert set(terms) == set(made.discriminator_step(20, [(1.0, flat(0.2), flat(0.1))]))


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


def test_the_blur_can_be_left_out() -> None:
    """From the first step of the discriminator on it sees the images themselves."""
    board, seen = torch.rand(1, 3, 8, 8), []
    made = discriminator(replace(PLAIN, blur=False))
    made.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for step in (20, 30):
        made.generator_loss(step, board)
    assert all(torch.equal(images, board) for images in seen)


@pytest.mark.parametrize("ramp", [0.0, 1e-9])
def test_without_start_and_ramp_all_is_there_at_once(ramp: float) -> None:
    """The whole weight in step 0; without a warm-up the rate is the autoencoder's in each step."""
    made = discriminator(replace(PLAIN, start=0.0, ramp=ramp, warmup=0))
    assert [made.weight(step) for step in (0, 1, 99)] == [0.4] * 3
    for step in (0, 1, 50, 99):
        terms = made.discriminator_step(step, [(1.0, flat(0.2), flat(0.1))])
        assert float(terms["d_loss"]) > 0
        (group,) = made.optimizer.param_groups
        rate = 1e-3 * (1 + math.cos(math.pi * step / 100)) / 2
        assert group["lr"] == pytest.approx(rate, rel=1e-12)


def test_optimizer_settings_are_shared_or_its_own() -> None:
    """Betas, weight decay and warm-up follow the schedule's where they are not given."""
    shared = replace(PACE, weight_decay=0.25)
    own = replace(PLAIN, betas=(0.9, 0.95), weight_decay=5e-4, warmup=4)
    for config, betas, decay, warmup in (
        (PLAIN, (0.5, 0.9), 0.25, 10),
        (own, (0.9, 0.95), 5e-4, 4),
    ):
        made = DiscriminatorTrainer(config, shared, ALONE)
        decayed, undecayed = made.optimizer.param_groups
        assert decayed["betas"] == undecayed["betas"] == betas
        assert (decayed["weight_decay"], undecayed["weight_decay"]) == (decay, 0)
        rates = [made._factor(step) for step in range(20, 20 + warmup)]
        assert rates == pytest.approx([(n + 1) / warmup for n in range(warmup)])


def test_zero_is_a_setting_of_its_own() -> None:
    """No decay and no warm-up are not taken for settings that are absent."""
    config = replace(PLAIN, weight_decay=0.0, warmup=0)
    made = DiscriminatorTrainer(config, replace(PACE, weight_decay=0.25), ALONE)
    assert [group["weight_decay"] for group in made.optimizer.param_groups] == [0, 0]
    assert made._factor(20) == 1


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
        ({"betas": [0.9]}, "betas must be two numbers"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"warmup": -1}, "warmup must not be negative"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(DiscriminatorConfig, table)
