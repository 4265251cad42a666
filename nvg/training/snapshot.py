"""Tensors of a checkpoint as they are at one moment, copied to the CPU and written later.

Of a sharded network each process copies and writes its own rows, in the form of `nvg/weights.py`.
`torch.distributed.checkpoint` writes safetensors too, but plans with collectives in its thread.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg.distributed import World
from nvg.weights import HEADER, is_sharded, local_rows

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Snapshot:
    """Contiguous tensors on the CPU that nothing else writes to, for one safetensors file.

    Where it `is_sharded`, `entries` has what the index says of each tensor, with this process's
    `rows`.
    """

    tensors: dict[str, Tensor]
    header: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_sharded: bool = False

    def write(self, path: Path) -> None:
        """Write the file and wait until it is on the disk; no second copy is made in memory.

        By hand, since the library replaces the file by one that only its owner may read.
        """
        table: dict[str, Any] = {}
        if self.header:
            table["__metadata__"] = {HEADER: json.dumps(self.header, sort_keys=True)}
        place = 0
        # By size of a number first, as the library does, so that all are aligned.
        ordered = sorted(self.tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
        for name, value in ordered:
            offsets = [place, place := place + value.nbytes]
            shape = list(value.shape)
            table[name] = {"dtype": DTYPES[value.dtype], "shape": shape, "data_offsets": offsets}
        head = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
        head += b" " * (-len(head) % 8)
        with path.open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for _, value in ordered:
                file.write(value.view(-1).view(torch.uint8).numpy().data)
            file.flush()
            os.fsync(file.fileno())


def snapshot(
    state: Mapping[str, Tensor], world: World, sharded: bool, header: dict[str, Any] | None = None
) -> Snapshot:
    """Copy tensors to the CPU: this process's rows where a state is sharded, else all of them.

    What every process has whole is the main process's to write; of rows that several nodes have
    copies of, the first node's.
    """
    tensors, entries = {}, {}
    for name, value in state.items():
        local, rows = value, (0, value.shape[0] if value.ndim else 1)
        if is_sharded(value):
            local, rows = local_rows(value)
            if rows[0] == rows[1] or _is_copy(value):
                continue
        elif not world.is_main:
            continue
        tensors[name] = local.detach().to("cpu", copy=True).contiguous()
        entries[name] = {"shape": list(value.shape), "dtype": DTYPES[value.dtype], "rows": rows}
    return Snapshot(tensors, header or {}, entries if sharded else {}, sharded)


def _is_copy(sharded: Any) -> bool:
    """Whether another node's process has the same rows and writes them."""
    *node, _ = sharded.device_mesh.get_coordinate()
    return any(node)
