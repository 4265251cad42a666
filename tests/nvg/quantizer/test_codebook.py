"""Where codebooks start: residuals by definition, sampled or clustered; or a uniform draw."""

import pytest
import torch

from nvg.distributed import World
from nvg.geometry import Geometry, labels
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.codebook import DeadCodes, start_codebook
from nvg.quantizer.config import POINTS_PER_CODE, CodebookInit
from nvg.structure import build_leaves

# B image, N position, C latent channel, R residual, V code


def test_residuals_are_differences_of_cluster_means() -> None:
    """Stage by stage and cluster by cluster, a mean less its parent's, computed one at a time."""
    latents_BNC = torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(0))
    leaves_BN = build_leaves(latents_BNC)
    expected = []
    for stage in range(5):
        for b in range(3):
            for cluster in range(2**stage):
                mean_C = latents_BNC[b, labels(leaves_BN, stage, 4)[b] == cluster].mean(0)
                parent_N = labels(leaves_BN, max(stage - 1, 0), 4)[b] == cluster // 2
                parent_C = latents_BNC[b, parent_N].mean(0) if stage else torch.zeros(4)
                expected.append(mean_C - parent_C)
    residuals_MC = MultiGranularityQuantizer(2, 4, Geometry(4)).residuals(latents_BNC, leaves_BN)
    assert residuals_MC.shape == (3 * 31, 4)
    assert torch.allclose(residuals_MC, torch.stack(expected), atol=1e-6)


def test_residuals_add_up_to_the_latents() -> None:
    """What the stages hold on the path to a leaf sums to the latent there."""
    latents_BNC = torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(1))
    leaves_BN = build_leaves(latents_BNC)
    quantizer = MultiGranularityQuantizer(2, 3, Geometry(8))
    residuals_MC, start = quantizer.residuals(latents_BNC, leaves_BN), 0
    total_BNC = torch.zeros_like(latents_BNC)
    for stage in range(7):
        part_BnC = residuals_MC[start : start + 2 * 2**stage].view(2, 2**stage, 3)
        label_BN = labels(leaves_BN, stage, 6)
        total_BNC = total_BNC + part_BnC.gather(1, label_BN.unsqueeze(-1).expand(-1, -1, 3))
        start += 2 * 2**stage
    assert torch.allclose(total_BNC, latents_BNC, atol=1e-5)


def test_a_sample_is_drawn_from_the_residuals() -> None:
    """Every code is a residual; the generator decides which."""
    residuals_MC = torch.arange(40.0).view(20, 2)
    make = [
        start_codebook(
            residuals_MC, 8, CodebookInit.SAMPLE, torch.Generator().manual_seed(seed)
        ).tolist()
        for seed in (1, 1, 2)
    ]
    assert make[0] == make[1] != make[2]
    assert all(code in residuals_MC.tolist() for code in make[0])


@pytest.mark.parametrize("residuals", [200, 3000])
def test_kmeans_lies_nearer_to_the_residuals_than_a_sample(residuals: int) -> None:
    """The mean squared distance to the nearest code is what k-means lowers."""
    generator = torch.Generator().manual_seed(4)
    residuals_MC = torch.randn(residuals, 8, generator=generator)
    error = {
        init: float(
            torch.cdist(residuals_MC, start_codebook(residuals_MC, 64, init, generator))
            .min(1)
            .values.square()
            .mean()
        )
        for init in CodebookInit
    }
    assert error[CodebookInit.KMEANS] < 0.9 * error[CodebookInit.SAMPLE]


def test_too_few_residuals_are_sampled() -> None:
    """With fewer residuals than codes k-means has no answer, a sample has."""
    residuals_MC = torch.arange(6.0).view(3, 2)
    codebook_VC = start_codebook(residuals_MC, 8, CodebookInit.KMEANS, torch.Generator())
    assert codebook_VC.shape == (8, 2)
    assert all(code in residuals_MC.tolist() for code in codebook_VC.tolist())


def test_a_uniform_codebook_fills_minus_to_plus_one_over_its_size() -> None:
    """Both ends are reached, mean and variance are a uniform's; the residuals do not matter."""
    size, zeros_MC = 512, torch.zeros(3, 32)
    code_VC, again_VC, other_VC = (
        start_codebook(residuals_MC, size, CodebookInit.UNIFORM, torch.Generator().manual_seed(n))
        for residuals_MC, n in ((zeros_MC, 0), (zeros_MC + 9, 0), (zeros_MC, 1))
    )
    assert code_VC.shape == (size, 32)
    assert code_VC.dtype == zeros_MC.dtype
    assert torch.equal(code_VC, again_VC)
    assert not torch.equal(code_VC, other_VC)
    scaled = code_VC.double() * size
    assert 0.999 < float(scaled.max()) <= 1
    assert -1 <= float(scaled.min()) < -0.999
    assert float(scaled.mean()) == pytest.approx(0, abs=0.02)
    assert float(scaled.square().mean()) == pytest.approx(1 / 3, abs=0.01)


def test_only_kmeans_asks_for_more_than_a_batch() -> None:
    """Sampling is content with the first batch."""
    assert CodebookInit.SAMPLE.wants(4096) == CodebookInit.UNIFORM.wants(4096) == 1
    assert CodebookInit.KMEANS.wants(4096) == 4096 * POINTS_PER_CODE


def test_a_dead_code_may_become_any_residual_of_the_step() -> None:
    """The same one, whether a process holds all of them in one run or in two."""
    means_MC = torch.arange(20.0).view(10, 2)
    found = []
    for runs in ([(0, means_MC)], [(6, means_MC[6:]), (0, means_MC[:6])]):
        codebook = torch.nn.Parameter(-torch.ones(5, 2))
        dead = DeadCodes(5, 1, torch.device("cpu"))
        torch.manual_seed(0)
        optimizer, alone = torch.optim.AdamW([codebook]), World(0, 1, torch.device("cpu"))
        used = torch.tensor([2])
        assert int(dead.revive(used, runs, 10, codebook, optimizer, alone)) == 4
        found.append(codebook.tolist())
    assert found[0] == found[1]
    assert found[0][2] == [-1, -1]
    assert all(code in means_MC.tolist() for n, code in enumerate(found[0]) if n != 2)
