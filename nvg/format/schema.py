"""What arrays, index and weights must be by the manifest: the schema of docs/FORMAT.md, strictly.

A store may come from elsewhere. Its files are descriptions of each other, and are compared before
any of them decides how much is read or how much memory is taken.
"""

import struct
from collections.abc import Callable, Container
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.files import parse_json
from nvg.format.base import ARRAYS, FEATURES, INDEX_SCHEMA, SPLIT, TOKENIZER_FILE, StoreError
from nvg.format.index import numbers
from nvg.format.manifest import Manifest
from nvg.geometry import Geometry

CODECS = ["bytes", "blosc", "crc32c"]
SHARDED = ["sharding_indexed"]
SETTINGS: dict[str, dict[str, Container[Any]]] = {
    "bytes": {"endian": ("little", "big")},
    "blosc": {
        "typesize": range(1, 256),
        "cname": ("lz4", "lz4hc", "blosclz", "snappy", "zlib", "zstd"),
        "clevel": range(10),
        "shuffle": ("noshuffle", "shuffle", "bitshuffle"),
        "blocksize": range(1 << 31),
    },
}
"""What each codec may be told; others none."""
SMALL = 1 << 20  # bytes of a description: zarr.json, the header of weights
NULLABLE = "stage_error"

Reader = Callable[[str, int], bytes]
"""The first so many bytes of a file of the store; FileNotFoundError without it."""


def array_shapes(manifest: Manifest) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each array."""
    geometry, rows, views = Geometry(manifest.grid), manifest.rows, len(manifest.views)
    kinds = (geometry.leaf_name, "uint16", "int32")
    shapes = ((rows, views, geometry.positions), (rows, views, geometry.tokens), (rows,))
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        name: (kind, shape) for name, kind, shape in zip(ARRAYS, kinds, shapes, strict=True)
    }
    if manifest.features:
        shape = (rows, views, geometry.positions, manifest.features.dims)
        found[FEATURES] = ("uint8", shape)
    return found


def require_arrays(read: Reader, manifest: Manifest, path: str) -> None:
    """StoreError where Zarr's description of an array is not what the manifest says.

    What is missing is left to those who read it. Costs a few small reads.
    """
    _require_none([_group_fault(read), *array_faults(read, manifest)], path)


def require_weights(read: Reader, manifest: Manifest, path: str) -> None:
    """StoreError where the codebook is of another size, grid or builder; as `require_arrays`."""
    _require_none([_weights_fault(read, manifest)], path)


def _require_none(faults: list[str], path: str) -> None:
    for fault in faults:
        if fault:
            raise StoreError(f"{path}: {fault}: restore it from a copy, or tokenize again")


def array_faults(read: Reader, manifest: Manifest) -> list[str]:
    """The first thing wrong with the description of each array: file, field, found, wanted."""
    faults, stored_rows = [], manifest.shard_rows or manifest.chunk_rows
    for name, (kind, shape) in array_shapes(manifest).items():
        file = f"{name}/zarr.json"
        try:
            table = _json(read(file, SMALL))
        except FileNotFoundError:
            continue
        except ValueError as error:
            faults.append(f"{file} {error}")
            continue
        wanted = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": kind,
            "chunk_grid": _named("regular", chunk_shape=[stored_rows, *shape[1:]]),
            "chunk_key_encoding": _named("default", separator="/"),
            "fill_value": 0,
            "codecs": CODECS if manifest.shard_rows is None else SHARDED,
            "storage_transformers": [],
        }
        if manifest.shard_rows and (
            fault := _shard_fault(table, [manifest.chunk_rows, *shape[1:]])
        ):
            faults.append(f"{file}: {fault}")
            continue
        table["codecs"] = _names(table.get("codecs"))
        table.setdefault("storage_transformers", [])
        if not manifest.finished:  # a store that is being extended has more rows than arrays yet
            table["shape"] = _with_rows(table.get("shape"), manifest.rows)
        for key, value in wanted.items():
            if table.get(key) != value:
                faults.append(f"{file}: {key} is {_short(table.get(key))}, not {_short(value)}")
                break
    return faults


def _shard_fault(table: dict[str, Any], chunk_shape: list[int]) -> str:
    """What is wrong with the codec of a sharded array, whose chunks have this shape; or ""."""
    try:
        found = dict(table["codecs"][0]["configuration"])
    except (LookupError, TypeError, ValueError):
        return f"codecs is {_short(table.get('codecs'))}, not {SHARDED}"
    wanted = {
        "chunk_shape": chunk_shape,
        "codecs": CODECS,
        "index_codecs": ["bytes", "crc32c"],
        "index_location": "end",
    }
    if extra := sorted(found.keys() - wanted):
        return f"codecs has {_short(extra[0])}, which is not known"
    for key, value in wanted.items():
        own = _names(found.get(key)) if key.endswith("codecs") else found.get(key)
        if own != value:
            return f"codecs.{key} is {_short(own)}, not {_short(value)}"
    return ""


def _names(codecs: Any) -> Any:
    """The names of a list of codecs; in place of one's whose settings are unknown, all of it."""
    return [_name(codec) for codec in codecs] if isinstance(codecs, list) else codecs


def _name(codec: Any) -> Any:
    if not isinstance(codec, dict):
        return codec
    name, settings = codec.get("name"), codec.get("configuration", {})
    known = SETTINGS.get(name, {}) if isinstance(name, str) else {}
    is_known = isinstance(settings, dict) and all(
        type(value) in (int, str) and value in known.get(key, ()) for key, value in settings.items()
    )
    return name if is_known or name == SHARDED[0] else codec


def require_index(table: pa.Table, manifest: Manifest, name: str, rows: range | None) -> None:
    """ValueError for an index file with other columns, types or rows; for None any rows."""
    for field in INDEX_SCHEMA:
        if field.name not in table.column_names:
            if field.name == SPLIT:
                continue
            raise ValueError(f"{name} has no column {field.name}")
        column = table[field.name]
        if table.column_names.count(field.name) > 1 or column.type != field.type:
            raise ValueError(f"{name}: column {field.name} is {column.type}, not {field.type}")
        if column.null_count and field.name != NULLABLE:
            raise ValueError(f"{name}: column {field.name} has {column.null_count} empty values")
    if rows is not None and not np.array_equal(numbers(table, "row"), np.array(rows, np.int64)):
        first, last = rows.start, rows.stop - 1
        raise ValueError(f"{name}: index has {len(table)} rows, not rows {first}..{last} in order")
    stages = Geometry(manifest.grid).stages
    for part in table[NULLABLE].chunks:
        there = part.drop_null()
        lengths = np.diff(np.from_dlpack(there.offsets))
        if (lengths != stages).any() or there.flatten().null_count:
            raise ValueError(f"{name}: {NULLABLE} must have {stages} numbers")


def _group_fault(read: Reader) -> str:
    try:
        table = _json(read("zarr.json", SMALL))
    except FileNotFoundError:
        return ""
    except ValueError as error:
        return f"zarr.json {error}"
    if (table.get("zarr_format"), table.get("node_type")) != (3, "group"):
        return "zarr.json: node_type and zarr_format are not those of a group of Zarr v3"
    return ""


def _weights_fault(read: Reader, manifest: Manifest) -> str:
    """What the header of the codebook says otherwise; a damaged file has a checksum to fail."""
    try:
        head = read(TOKENIZER_FILE, SMALL)
        (size,) = struct.unpack("<Q", head[:8])
        header = _json(head[8 : 8 + size])
        config = _json(header["__metadata__"]["nvg"].encode())["config"]
        shape = header["codebook"]["shape"]
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, struct.error):
        return ""
    for field, wanted in (
        ("codebook_size", shape[:1] and shape[0]),
        ("latent_dim", shape[1:] and shape[1]),
        ("builder", config.get("builder")),
        ("image_size", config.get("image_size")),
    ):
        found = getattr(manifest, field)
        if wanted is not None and found != wanted:
            said = f"{TOKENIZER_FILE} {_short(wanted)}"
            return f"manifest.json: {field} is {_short(found)}, that of {said}"
    return ""


def _with_rows(shape: Any, rows: int) -> Any:
    """A shape with the rows of the manifest, where it has no more."""
    if isinstance(shape, list) and shape and isinstance(shape[0], int) and shape[0] <= rows:
        return [rows, *shape[1:]]
    return shape


def _named(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


def _json(data: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        table = parse_json(data)
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(table, dict):
        raise ValueError("is not a JSON object")
    return table


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
