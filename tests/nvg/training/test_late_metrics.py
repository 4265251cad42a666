"""Means of a window, and numbers that are looked at one step late."""

from pathlib import Path

import pytest
import torch

from nvg.errors import WorkError
from nvg.training.late_metrics import LateMetrics, Window
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe


def late(tmp_path: Path, window: Window) -> LateMetrics:
    """Of a new run whose batches are numbers."""
    run = Run(tmp_path, tiny_recipe(), False, ("generator",))
    return LateMetrics(run, "row {}".format, window)


def test_a_step_counts_when_the_next_one_is_there(tmp_path: Path) -> None:
    """Nothing is read before; `settle` reads what is pending, once."""
    window = Window({"count": 0})
    metrics = late(tmp_path, window)
    metrics.add(0, {"loss": torch.tensor(1.0)}, 0)
    assert window.sums() == {"count": 0}
    metrics.add(1, {"loss": torch.tensor(4.0)}, 1)
    assert window.sums() == {"count": 1, "loss": 1.0}
    metrics.settle()
    metrics.settle()
    assert window.sums() == {"count": 2, "loss": 5.0}
    assert window.means() == {"loss": 2.5}
    window.clear()
    assert window.sums() == {"count": 0}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_names_its_step_and_rows(tmp_path: Path, bad: float) -> None:
    """Of the step that had it, not of the one that was launched since."""
    metrics = late(tmp_path, Window({"count": 0}))
    metrics.add(4, {"loss": torch.tensor(1.0), "norm": torch.tensor(bad)}, 4)
    with pytest.raises(
        WorkError, match=r"step 5: norm is non-finite, at rows row 4; the beginning"
    ):
        metrics.add(5, {"loss": torch.tensor(1.0), "norm": torch.tensor(1.0)}, 5)


def test_a_window_goes_on_from_a_checkpoint() -> None:
    """Sums that were saved are added to by name; a metric that is new begins at 0."""
    window = Window({"count": 2, "norm": 3.0, "loss": 1.0})
    window.add(["loss", "norm", "new"], torch.tensor([1.0, 2.0, 6.0]))
    assert window.sums() == {"count": 3, "loss": 2.0, "norm": 5.0, "new": 6.0}
