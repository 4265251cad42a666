"""`state.json` of a checkpoint, read strictly: a copy may be damaged, or come from elsewhere."""

import math
from typing import Any

from nvg.files import parse_json
from nvg.loader.mode import LoaderMode

PLACE = ("seed", "epoch", "position")  # of a loader


def read_state(data: bytes, step: int) -> dict[str, Any]:
    """The state that a checkpoint of `step` keeps; ValueError names what cannot be one.

    Keys that this version does not know are kept.
    """
    state = parse_json(data, finite=False)
    if not isinstance(state, dict):
        raise ValueError("it is no JSON object")
    if state.get("step", step) != step:
        raise ValueError(f"step is {state['step']!a:.40}, not {step}")
    _require_window(state.get("window", {"count": 0}))
    for name in ("scores", "loader", "store"):
        if not isinstance(state.get(name, {}), dict):
            raise ValueError(f"{name} is no JSON object")
    _require_numbers("scores", state.get("scores", {}))
    score = state.get("score")
    if score is not None and not _is_number(score):
        raise ValueError("score is no number")
    if "loader" in state:
        _require_loader(state["loader"])
    history = state.get("heldout", [])
    if not isinstance(history, list) or not all(isinstance(line, dict) for line in history):
        raise ValueError("heldout is no list of losses")
    for line in history:  # the step, and for each split the losses by name
        tables = [value for value in line.values() if isinstance(value, dict)]
        rest = {name: value for name, value in line.items() if not isinstance(value, dict)}
        for table in (rest, *tables):
            _require_numbers("heldout", table)
    return state


def _require_window(window: Any) -> None:
    """ValueError unless it is the sums of the metrics and how many they are."""
    if not isinstance(window, dict) or not _is_count(window.get("count")):
        raise ValueError("window has no count")
    _require_numbers("window", window)


def _require_loader(loader: dict[str, Any]) -> None:
    for name in PLACE:
        if not _is_count(loader.get(name)):
            raise ValueError(f"loader.{name} is no count")
    if not _is_count(loader.get("window", 0)):
        raise ValueError("loader.window is no count")
    deals = loader.get("deals", [])
    if not isinstance(deals, list) or not all(map(_is_deal, deals)):
        raise ValueError("loader.deals is no list of nodes and samples")
    if not _is_deal([loader.get("nodes", 1), 0]):
        raise ValueError("loader.nodes is no number of nodes")
    if sum(shown for _, shown in deals) > loader["position"]:
        raise ValueError("loader.deals have shown more than loader.position")
    if loader.get("mode", LoaderMode.MEMORY) not in (LoaderMode.MEMORY, LoaderMode.STREAM):
        raise ValueError("loader.mode is neither memory nor stream")


def _is_deal(deal: Any) -> bool:
    """Whether it is a number of nodes and one of samples."""
    is_pair = isinstance(deal, list) and len(deal) == 2 and all(map(_is_count, deal))
    return is_pair and deal[0] > 0


def _require_numbers(name: str, table: dict[str, Any]) -> None:
    if not all(map(_is_number, table.values())):
        raise ValueError(f"{name} holds what is no number")


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < 1 << 63
    return type(value) is float and not math.isinf(value)  # a mean loss may have been NaN


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
