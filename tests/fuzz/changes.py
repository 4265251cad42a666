"""Changes of bytes and of JSON: the same for the same randomness, each told in words."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 5, 7, 8, 16, 255, 256, 65536, 1 << 31, 1 << 40, 1 << 63),
    *(-(1 << 63), 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a", "4", "../a", "/"),
    *("os:system", "a" * 5000, "\x1b[31mred", "a\nb", "\0", "\ud800", "é", [], [0], [[]], ["a"]),
    *({}, {"a": 1}, {"name": "gzip"}),
)

Change = tuple[bytes, str]


def change_bytes(data: bytes, random: Random) -> Change:
    """Flip, cut, put in, take out, repeat, or set a number."""
    changes: tuple[Callable[[bytes, Random], Change], ...] = (
        *(flipped, flipped, number_set, number_set),
        *(cut, taken_out, put_in, repeated, overwritten),
    )
    return random.choice(changes)(data, random) if data else (b"\0", "a byte in an empty file")


def flipped(data: bytes, random: Random) -> Change:
    """One to eight bits."""
    changed, at = (
        bytearray(data),
        sorted(random.sample(range(8 * len(data)), random.choice((1, 1, 2, 8)))),
    )
    for bit in at:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed), f"bits {at} flipped"


def number_set(data: bytes, random: Random) -> Change:
    """An odd number, 1 to 8 bytes wide, at any place; often near the beginning."""
    width = random.choice([w for w in WIDTHS if w <= len(data)])
    most = len(data) - width
    at = random.randint(0, min(most, 64) if random.random() < 0.5 else most)
    order, value = random.choice("<>"), random.choice(NUMBERS) % (1 << 8 * width)
    put = struct.pack(order + WIDTHS[width], value)
    return data[:at] + put + data[at + width :], f"{order}{WIDTHS[width]} {value} at {at}"


def cut(data: bytes, random: Random) -> Change:
    """The first part only."""
    at = random.randrange(len(data))
    return data[:at], f"cut at {at} of {len(data)}"


def taken_out(data: bytes, random: Random) -> Change:
    """Some bytes are missing."""
    at, count = random.randrange(len(data)), random.choice((1, 2, 8, 100))
    return data[:at] + data[at + count :], f"{count} bytes out at {at}"


def put_in(data: bytes, random: Random) -> Change:
    """Some random bytes more."""
    at, count = random.randint(0, len(data)), random.choice((1, 2, 8, 100))
    return data[:at] + random.randbytes(count) + data[at:], f"{count} bytes put in at {at}"


def repeated(data: bytes, random: Random) -> Change:
    """A part comes twice."""
    at, count = random.randrange(len(data)), random.choice((1, 8, 64, 512))
    return data[: at + count] + data[at:], f"{count} bytes at {at} twice"


def overwritten(data: bytes, random: Random) -> Change:
    """A part of zeros, of ones, or of noise."""
    at, count = random.randrange(len(data)), random.choice((4, 16, 64))
    count = min(count, len(data) - at)
    put = random.choice((bytes(count), b"\xff" * count, random.randbytes(count)))
    return data[:at] + put + data[at + count :], f"{count} bytes overwritten at {at}"


def change_json(data: bytes, random: Random) -> Change:
    """Another value at a random place of a JSON file; now and then other bytes, or other JSON."""
    if random.random() < 0.15:
        return change_bytes(data, random)
    if random.random() < 0.1:
        whole = random.choice(
            (b"[" * 100_000, b"{}", b"[]", b"null", b"1", b'""', b"\xff\xfe", b"")
        )
        return whole, f"replaced by {whole[:8]!r}"
    table = json.loads(data)
    said = change_value(table, random)
    return json.dumps(table).encode(), said


def change_value(table: Any, random: Random) -> str:
    """Change a value, add a key or take one out, at a random depth of nested tables and lists."""
    where = ""
    while True:
        keys = list(table) if isinstance(table, dict) else list(range(len(table)))
        if not keys:
            break
        key = random.choice(keys)
        inner = table[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.7:
            table, where = inner, f"{where}.{key}"
            continue
        where = f"{where}.{key}"
        if random.random() < 0.15:
            del table[key]
            return f"{where} taken out"
        table[key] = random.choice(neighbours(inner, random))
        return f"{where} = {table[key]!a:.80}"
    return f"{where} is empty already"


def neighbours(value: Any, random: Random) -> list[Any]:
    """Values to take the place of one: alike, or of another type."""
    found: list[Any] = [random.choice(VALUES)]
    if isinstance(value, bool):
        found.append(not value)
    elif isinstance(value, int | float):
        found += [value + 1, value - 1, value * 2, -value, str(value)]
    elif isinstance(value, str):
        found += [value[:-1], value + "x", value.upper(), value[::-1]]
    elif isinstance(value, list):
        found += [value[:-1], value * 2, value[::-1]]
    return found
