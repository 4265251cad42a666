"""Tensors of a checkpoint as they are at one moment, copied to the CPU and written later.

Of a sharded network each process copies and writes its own rows; see `nvg/shards.py` for the files.
`torch.distributed.checkpoint` writes safetensors too, but plans with collectives in its thread.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from nvg.distributed import World
from nvg.shards import Rows, is_sharded, local_rows
from nvg.weights import HEADER


@dataclass(frozen=True)
class Snapshot:
    """Contiguous tensors on the CPU that nothing else writes to, for one safetensors file.

    `entries` is empty where they are whole; of shards it has what the index says of each tensor,
    with this process's `rows`.
    """

    tensors: dict[str, Tensor]
    header: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the file and wait until it is on the disk; needs no memory for a second copy."""
        text = json.dumps(self.header, sort_keys=True)
        save_file(self.tensors, path, metadata={HEADER: text} if self.header else None)
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def snapshot(
    state: Mapping[str, Tensor], world: World, sharded: bool, header: dict[str, Any] | None = None
) -> Snapshot:
    """Copy tensors to the CPU: this process's rows where a state is sharded, else all of them.

    What every process has whole is the main process's to write.
    """
    tensors, entries = {}, {}
    for name, value in state.items():
        local, rows = value, whole_rows(value)
        if is_sharded(value):
            local, rows = local_rows(value)
        elif not world.is_main:
            continue
        if rows[0] < rows[1]:
            tensors[name] = local.detach().to("cpu", copy=True).contiguous()
            shape, dtype = list(value.shape), str(value.dtype).removeprefix("torch.")
            entries[name] = {"shape": shape, "dtype": dtype, "rows": rows}
    return Snapshot(tensors, header or {}, entries if sharded else {})


def whole_rows(tensor: Tensor) -> Rows:
    """All rows of a tensor; a number counts as one."""
    return 0, tensor.shape[0] if tensor.ndim else 1
