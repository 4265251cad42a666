"""Alignment of content with features: the term, its training, and stores without features."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.format.base import StoreError
from nvg.generator.config import GeneratorKind
from nvg.store import Store
from nvg.training.generator.repa import Aligner
from tests.makers import files_below
from tests.nvg.store.makers import make_store, random_codec
from tests.nvg.training.generator.makers import fit
from tests.nvg.training.makers import lines_of


def test_a_store_without_features_cannot_be_aligned_with(tmp_path: Path, store: Store) -> None:
    """The error names both remedies; so does a block that is not there."""
    with pytest.raises(StoreError, match=r"holds no features.*tokenize.features"):
        fit(store, tmp_path / "run", [GeneratorKind.CONTENT], align=0.5, align_block=1)
    with pytest.raises(ValueError, match=r"align_block 8 is beyond .* 1 blocks"):
        fit(store, tmp_path / "run", [GeneratorKind.CONTENT], align=0.5)


def test_alignment_is_one_minus_the_cosine() -> None:
    """Against the sum written out, with the projector's own output."""
    torch.manual_seed(0)
    aligner = Aligner(8, random_codec())
    hidden, codes = torch.randn(2, 4, 8), torch.randint(256, (2, 4, 3), dtype=torch.uint8)
    found, wanted = aligner.projector(hidden).detach(), aligner.codec.decode(codes)
    cosines = [
        float(f @ w / (f.norm() * w.norm()))
        for f, w in zip(found.flatten(0, 1), wanted.flatten(0, 1), strict=True)
    ]
    assert float(aligner(hidden, codes).detach()) == pytest.approx(1 - sum(cosines) / 8, abs=1e-5)


def curve(path: Path) -> list[Any]:
    """The alignment term by step."""
    return [line["align"] for line in lines_of(path / "metrics.jsonl")]


@pytest.mark.thorough
def test_training_aligns_and_resumes_exactly(tmp_path: Path) -> None:
    """The term falls on a store that is learnt by heart; a resumed run has the same curve."""
    store = make_store(tmp_path / "a.vgs", 4, codec=random_codec())
    settings: dict[str, Any] = {
        "steps": 60,
        "align": 0.5,
        "align_block": 1,
        "lr": 0.1,
        "checkpoint_every": 20,
    }
    fit(store, tmp_path / "whole", [GeneratorKind.CONTENT], **settings)
    terms = curve(tmp_path / "whole")
    assert len(terms) == 60
    assert terms[-1] < 0.6 * terms[0]
    shutil.copytree(tmp_path / "whole", tmp_path / "half")
    (tmp_path / "half" / "content.safetensors").unlink()
    shutil.rmtree(tmp_path / "half" / "checkpoints" / "step-00000060")
    fit(store, tmp_path / "half", [GeneratorKind.CONTENT], resume=True, **settings)
    assert curve(tmp_path / "half") == terms
    one, two = (files_below(tmp_path / run) for run in ("whole", "half"))
    assert one["content.safetensors"] == two["content.safetensors"]
