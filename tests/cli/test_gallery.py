"""The gallery's shapes, and what it says where the demo has not run."""

from pathlib import Path

import pytest

from cli import gallery
from nvg.geometry import Geometry
from nvg.structure.drawn import leaves_of_regions


@pytest.mark.parametrize("grid", [4, 8])
def test_every_shape_determines_some_stages(grid: int) -> None:
    """A disc, a bar and a half are two regions each; the half needs one split."""
    stages = {
        name: leaves_of_regions(gallery._on_grid(drawn, grid), Geometry(grid))[1]
        for name, drawn in gallery.shapes().items()
    }
    assert stages.keys() == {"disc", "bar", "half"}
    assert stages["half"] == 2
    assert min(stages.values()) >= 2


def test_without_the_demo_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, nothing written."""
    monkeypatch.setattr(gallery, "OUT", tmp_path / "demo")
    monkeypatch.setattr(gallery, "FOLDER", tmp_path / "gallery")
    with pytest.raises(SystemExit) as caught:
        gallery.main()
    assert caught.value.code == 2
    assert "run ./justw demo first" in capsys.readouterr().err
    assert not (tmp_path / "gallery").exists()
