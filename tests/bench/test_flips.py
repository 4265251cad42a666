"""Mirrored hierarchies: what is drawn of them is mirrored, and twice is as before."""

from pathlib import Path

import torch

from nvg.geometry import Geometry, labels
from nvg.store import open_store
from nvg.structure import build_leaves
from tests.bench.flips import mirrored, mirrored_store
from tests.nvg.store.makers import make_store


def test_a_mirrored_hierarchy_draws_the_mirrored_maps() -> None:
    """Every position has the token that its mirror image had, at every stage; order by position."""
    geometry = Geometry(4)
    generator = torch.Generator().manual_seed(0)
    leaves = build_leaves(torch.randn(5, 16, 3, generator=generator)).long()
    content = torch.randint(90, (5, geometry.tokens), generator=generator)
    turned, tokens = mirrored(leaves, content, geometry)
    for stage in range(geometry.stages):
        part = geometry.stage_slice(stage)
        drawn = content[:, part].gather(1, labels(leaves, stage, geometry.K))
        found = tokens[:, part].gather(1, labels(turned, stage, geometry.K))
        assert torch.equal(found.view(5, 4, 4), drawn.view(5, 4, 4).flip(2))
        label = labels(turned, stage, geometry.K)
        first = [[row.index(each) for each in range(2**stage)] for row in label.tolist()]
        for row in first:
            assert all(row[n] < row[n + 1] for n in range(0, len(row) - 1, 2))
    again = mirrored(turned, tokens, geometry)
    assert torch.equal(again[0], leaves)
    assert torch.equal(again[1], content)


def test_a_mirrored_store_is_whole(tmp_path: Path) -> None:
    """The first view and the index stay; the second is the mirrored first; its sums are its own."""
    store = make_store(tmp_path / "a.vgs", 10, 2, bad=(3,))
    found = open_store(mirrored_store(store, str(tmp_path / "b.vgs")))
    assert found.verify() == []
    assert found.index == store.index
    rows = store.ok_rows()
    leaves, content = (
        torch.from_numpy(found.group[name][:][rows]).long() for name in ("leaves", "content")
    )
    assert torch.equal(leaves[:, 0], torch.from_numpy(store.leaves[rows][:, 0]).long())
    wanted = mirrored(leaves[:, 0], content[:, 0], store.geometry)
    assert torch.equal(leaves[:, 1], wanted[0])
    assert torch.equal(content[:, 1], wanted[1])
