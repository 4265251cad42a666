"""Features for Frechet distances: networks from local files, a user's own, the distance itself.

Weights are random here: the way they take is what is tested, no number means anything.
"""

from pathlib import Path

import pytest
import torch

from nvg.errors import InputError
from nvg.pretrained.inception import load_extractor
from nvg.pretrained.names import INCEPTION
from tests.nvg.pretrained.makers import OWN, Shrink

CPU = torch.device("cpu")


def nothing(weights: Path | None) -> str:
    """What is no network."""
    return "nothing"


@pytest.mark.thorough
def test_inception_from_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 2048 features; only a distance of these is called FID."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception  # seconds to import

    with monkeypatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(inception, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
        empty = inception.FeatureExtractorInceptionV3(INCEPTION, ["2048", "logits_unbiased"])
    torch.save(empty.state_dict(), tmp_path / "inception.pth")
    found = load_extractor(INCEPTION, tmp_path / "inception.pth", CPU)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert found(pixels).shape == (2, 2048)
    assert torch.equal(found(pixels), empty(pixels)[0])
    logits = found.both(pixels)[1]
    assert logits is not None
    assert torch.equal(logits, empty(pixels)[1])
    assert (found.distance_name, found.kernel_name, found.score_name) == ("FID", "KID", "IS")
    assert len(found.weights) == 64


def test_a_users_own_extractor_is_named() -> None:
    """Never as FID."""
    found = load_extractor(OWN, None, CPU)
    assert found(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, 12)
    assert found.distance_name == f"Frechet distance ({OWN})"
    assert (found.kernel_name, found.score_name) == ("kernel distance", "class score")


def test_features_are_exact_float32() -> None:
    """Without autocast and TF32, whatever is set around: distances mean the same anywhere."""
    found = load_extractor(OWN, None, CPU)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with torch.autocast("cpu", torch.bfloat16):
            found(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    finally:
        torch.set_float32_matmul_precision(before)
    assert isinstance(found.network, Shrink)
    switch, dtype = found.network.seen
    assert switch in ("ieee", "none")
    assert dtype == torch.float32


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Unknown names, missing and foreign weights, functions that give no network."""
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, weights, words in (
        ("resnet", tmp_path / "other.pth", "unknown extractor 'resnet'"),
        (INCEPTION, None, "needs --weights: a local file"),
        (INCEPTION, tmp_path / "none.pth", "is no file"),
        (
            INCEPTION,
            tmp_path / "other.pth",
            f"{INCEPTION}: it holds those of another",
        ),
        (INCEPTION, tmp_path / "text.pth", "inception-v3-compat: it is a text file"),
        ("no.such:thing", None, "cannot be imported"),
        (f"{__name__}:nothing", None, "returned no torch module"),
    ):
        with pytest.raises(InputError, match=words):
            load_extractor(name, weights, CPU)
