"""What can be wrong with a weights file of a store, without building a network of it."""

import json
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

HEADER = "nvg"  # the key of the metadata
FLOATS = {"F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80), "F32": (np.uint32, 0x7F800000)}
"""Types of numbers: as what their bits are read, and the exponent of NaN and Inf."""


def weights_fault(data: bytes) -> str:
    """Why bytes cannot be weights of a store; "" where they can.

    That all tensors are there which a network needs is found when it is built.
    """
    try:
        tensors = deserialize(data)  # type: ignore[no-untyped-call]
        size = int.from_bytes(data[:8], "little")
        table = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][HEADER])
    except SafetensorError:
        return "is not a safetensors file"
    except (ValueError, LookupError, TypeError, RecursionError):
        return "was not written by nvgctl"
    if not isinstance(table, dict) or not isinstance(table.get("config", {}), dict):
        return "does not say which network it is of"
    for name, tensor in tensors:
        if not _is_finite(tensor):
            return f"holds NaN or Inf, in {name}"
    return ""


def _is_finite(tensor: dict[str, Any]) -> bool:
    kind, exponent = FLOATS.get(tensor["dtype"], (np.uint8, 0))
    if not exponent:
        return True
    bits = np.frombuffer(tensor["data"], kind)
    return not bool(((bits & exponent) == exponent).any())
