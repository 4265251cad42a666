"""What a training step asks of a GPU: few copies, no waits, not more operations than counted.

`python -m pytest tests/nvg/training/test_dispatch.py -rP` prints the counts.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nvg.quantizer.residual
import nvg.training.autoencoder.trainer
from nvg.distributed import World
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.autoencoder.config import (
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
)
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer
from tests.nvg.store.makers import make_store
from tests.nvg.training.fake_gpu import GPU, Dispatched, fake_gpu
from tests.nvg.training.generator.makers import shape_for
from tests.nvg.training.makers import Pictures

pytestmark = pytest.mark.filterwarnings("ignore:.*Disabling autocast")

BATCH = 18
# The paper's d16 but for its width: 16 blocks, nine stages.
D16 = TransformerConfig(depth=16, width=64, heads=1)
SHALLOW = replace(D16, depth=1)
TRAINING = GeneratorTraining(batch_size=BATCH, warmup=0)


@dataclass(frozen=True)
class Prepared:
    """What is read from a store before there is a device."""

    store: Store
    shape: GeneratorShape
    quantizer: MultiGranularityQuantizer

    def task(self, training: GeneratorTraining, device: torch.device) -> GeneratorTrainer:
        """The trainer of both generators."""
        world = World(0, 1, device)
        states = [GeneratorState(part, self.shape, training, world) for part in GeneratorKind]
        return GeneratorTrainer(states, self.store, self.quantizer, world)


def prepared(folder: Path, transformer: TransformerConfig) -> Prepared:
    """Tokens on a 16x16 grid, as the paper's."""
    store = make_store(folder / "a.vgs", 2 * BATCH, grid=16, codebook_size=64, chunk_rows=BATCH)
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    return Prepared(store, shape_for(transformer, store), quantizer)


def generator_on_gpu(
    folder: Path, patch: pytest.MonkeyPatch, training: GeneratorTraining
) -> Dispatched:
    """The second step of both generators."""
    case, modules = prepared(folder, SHALLOW), list[nn.Module]()
    batch = next(case.task(TRAINING, torch.device("cpu")).batches())
    with fake_gpu(patch, modules) as counted:
        task = case.task(training, GPU)
        modules += [state.objective for state in task.states]
        task.step(0, batch)
        counted.clear()
        task.step(1, batch)
    return counted


def generator_operations(folder: Path) -> int:
    """Of one step at the depth of d16, gradients and EMA weights included."""
    task = prepared(folder, D16).task(TRAINING, torch.device("cpu"))
    batch = next(task.batches())
    task.step(0, batch)
    with Dispatched() as counted:
        task.step(1, batch)
    return counted.operations


@pytest.fixture
def _no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer's own operations are one on a GPU, where it is fused, and many on a CPU."""
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)


@pytest.mark.thorough
@pytest.mark.parametrize("corruption", [0.0, 0.1])
def test_a_generator_step_copies_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corruption: float
) -> None:
    """The batch and all that was drawn in one queued copy; nothing waits."""
    training = replace(TRAINING, corruption=corruption)
    counted = generator_on_gpu(tmp_path, monkeypatch, training)
    print("generators:", counted)
    assert (counted.copies, counted.blocking, counted.waits) == (1, 0, 0)


@pytest.mark.thorough
def test_drop_path_copies_once_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a block, and queued."""
    monkeypatch.setattr(f"{__name__}.SHALLOW", replace(D16, depth=3, drop_path=0.1))
    counted = generator_on_gpu(tmp_path, monkeypatch, TRAINING)
    assert (counted.copies, counted.blocking, counted.waits) == (3, 0, 0)


@pytest.mark.thorough
@pytest.mark.usefixtures("_no_update")
def test_a_generator_step_has_so_many_operations(tmp_path: Path) -> None:
    """Both generators at d16's depth: a bound a little above what was counted."""
    found = generator_operations(tmp_path)
    print(f"generators: {found} operations")
    assert found < 4_250


def autoencoder_trainer(discriminator: DiscriminatorConfig) -> AutoencoderTrainer:
    """The paper's depth at narrow width, every loss but LPIPS."""
    config = AutoencoderConfig(
        image_size=64, base_channels=8, multipliers=(1, 1, 2, 2, 4), latent_dim=4, codebook_size=16
    )
    training = AutoencoderTraining(dead_code_after=10, ibq_steps=5, discriminator=discriminator)
    return AutoencoderTrainer(config, training)


ADVERSARIAL = DiscriminatorConfig(kind=DiscriminatorKind.PATCH, start=0.0)


@pytest.mark.thorough
def test_an_autoencoder_step_queues_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pixels one, of each augmentation three, of the drawn residuals one; no wait but those of
    structure and nearest codes, which are left out here."""
    monkeypatch.setattr(nvg.training.autoencoder.trainer, "default_device", lambda: GPU)
    monkeypatch.setattr(nvg.quantizer.residual, "nearest_code", _first_code)
    monkeypatch.setattr(Autoencoder, "leaves", _in_order)
    modules: list[nn.Module] = []
    batch = Pictures(4, 64).batch(torch.arange(4).numpy())
    with fake_gpu(monkeypatch, modules) as counted:
        trainer = autoencoder_trainer(ADVERSARIAL)
        assert trainer.discriminator
        modules += [trainer.model, trainer.discriminator]
        trainer.step(0, [batch])
        counted.clear()
        trainer.step(1, [batch])
    print("autoencoder:", counted)
    assert (counted.copies, counted.blocking, counted.waits) == (11, 0, 0)


def _first_code(vectors: Tensor, codebook: Tensor) -> Tensor:
    return torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)


def _in_order(model: Autoencoder, latents: Tensor, segments: Tensor | None = None) -> Tensor:
    return torch.arange(latents.shape[1], device=latents.device).expand(len(latents), -1)


@pytest.mark.thorough
@pytest.mark.usefixtures("_no_update")
@pytest.mark.parametrize(
    ("discriminator", "most"), [(DiscriminatorConfig(), 1_020), (ADVERSARIAL, 1_450)]
)
def test_an_autoencoder_step_has_so_many_operations(
    discriminator: DiscriminatorConfig, most: int
) -> None:
    """At the paper's depth, after IBQ: a bound a little above what was counted."""
    trainer = autoencoder_trainer(discriminator)
    batch = Pictures(4, 64).batch(torch.arange(4).numpy())
    trainer.step(5, [batch])
    with Dispatched() as counted:
        trainer.step(6, [batch])
    print(f"autoencoder ({discriminator.kind}): {counted.operations} operations")
    assert counted.operations < most
