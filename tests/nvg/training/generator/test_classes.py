"""Class embeddings of generators that are trained on for other classes."""

import json
from pathlib import Path

import pytest
import torch

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind
from nvg.store import Store
from nvg.training.generator.classes import EMBEDDING, NEW, class_rows, load_for_classes
from nvg.weights import CheckpointError, weights_bytes
from tests.nvg.generator.makers import SMALL
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of three classes."""
    path = tmp_path_factory.mktemp("classes") / "tokens.vgs"
    return make_store(path, rows=4, classes=["bee", "ant", "dog"])


@pytest.mark.parametrize(
    ("known", "rows"),
    [
        (["bee", "ant", "dog"], None),
        (["0", "1", "2"], None),
        (["ant", "bee", "cat"], [1, 0, NEW]),
        (["dog"], [NEW, NEW, 0]),
        (["0", "1"], [NEW, NEW, NEW]),
    ],
)
def test_classes_agree_by_name(
    store: Store, tmp_path: Path, known: list[str], rows: list[int] | None
) -> None:
    """In whatever order; numbers of as many classes stand for any names."""
    (tmp_path / "classes.json").write_text(json.dumps(known))
    assert class_rows(tmp_path, len(known), store) == rows


@pytest.mark.parametrize("part", list(GeneratorKind))
def test_rows_are_taken_or_stay(store: Store, tmp_path: Path, part: GeneratorKind) -> None:
    """Known classes and the null class are the file's, a new one is the module's own."""
    shape = shape_for(SMALL, store)
    torch.manual_seed(0)
    old, new = (build_generator(part, shape) for _ in range(2))
    for module in (old, new):
        torch.nn.init.normal_(module.backbone.class_embedding.weight)
    own = new.state_dict()[EMBEDDING].clone()
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights_bytes(old.state_dict(), shape))
    load_for_classes(new, file, [2, NEW, 0])
    loaded, wanted = new.state_dict(), old.state_dict()
    assert torch.equal(
        loaded[EMBEDDING],
        torch.stack([wanted[EMBEDDING][2], own[1], wanted[EMBEDDING][0], wanted[EMBEDDING][3]]),
    )
    assert all(torch.equal(loaded[name], wanted[name]) for name in wanted if name != EMBEDDING)
    load_for_classes(new, file, None)
    assert torch.equal(new.state_dict()[EMBEDDING], wanted[EMBEDDING])
    file.write_bytes(weights_bytes({EMBEDDING: own}, shape))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors does not fit the model"):
        load_for_classes(new, file, [2, NEW, 0])
