"""Changes that know how an image file is built: chunks, segments, tags, boxes, sizes.

A change of a part leaves its checksum and the lengths around it right, unless these are what is
changed, so that decoders get as far as the part itself.
"""

import struct
import zlib
from collections.abc import Callable
from random import Random

from tests.fuzz.changes import NUMBERS, Change, change_bytes

ODD_PNG = (
    *(
        (b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(9_000_000))),
    ),
    *((b"iCCP", b"a\0\0" + zlib.compress(bytes(3_000_000))), (b"iTXt", b"a\0\1\0\0\0x")),
    *((b"gAMA", b"\0"), (b"cHRM", b"\0\1"), (b"pHYs", b""), (b"eXIf", b"MM\0*\xff\xff\xff\xff")),
    *((b"sRGB", b""), (b"tRNS", b""), (b"acTL", b"\0"), (b"fcTL", b"\0"), (b"PLTE", b"\0\1")),
)
Part = tuple[bytes, bytes]


def _number(random: Random, width: int) -> int:
    return random.choice(NUMBERS) % (1 << 8 * width)


def change_png(data: bytes, random: Random) -> Change:
    """Chunks: another size, order, number, content, kind or length."""
    parts = png_parts(data)
    at, way = random.randrange(len(parts)), random.randrange(7)
    name, body = parts[at]
    if way == 0:
        field = random.randrange(7)
        head = list(struct.unpack(">IIBBBBB", parts[0][1]))
        head[field] = _number(random, 4 if field < 2 else 1)
        parts[0] = parts[0][0], struct.pack(">IIBBBBB", *head)
        said = f"IHDR field {field} = {head[field]}"
    elif way == 1:
        changed, how = change_bytes(body, random)
        parts[at], said = (name, changed), f"in {name!r} {how}"
    elif way == 2:
        parts.insert(random.randint(1, len(parts)), parts.pop(at))
        said = f"{name!r} elsewhere"
    elif way == 3:
        parts.insert(at, parts[at])
        said = f"{name!r} twice"
    elif way == 4:
        del parts[at]
        said = f"without {name!r}"
    elif way == 5:
        odd = random.choice(ODD_PNG)
        parts.insert(random.randint(1, len(parts)), odd)
        said = f"with {odd[0]!r} of {len(odd[1])} bytes"
    else:
        lie, count = random.choice(("length", "crc")), _number(random, 4)
        return png_bytes(parts, at, lie, count), f"{lie} of {name!r} = {count}"
    return png_bytes(parts), said


def png_parts(data: bytes) -> list[Part]:
    """Name and content of each chunk."""
    parts, at = [], 8
    while at + 8 <= len(data):
        (size,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        parts.append((name, data[at + 8 : at + 8 + size]))
        at += 12 + size
    return parts


def png_bytes(parts: list[Part], at: int = -1, lie: str = "", value: int = 0) -> bytes:
    """A file of chunks; the one `at` may lie about its length or checksum."""
    found = [b"\x89PNG\r\n\x1a\n"]
    for number, (name, body) in enumerate(parts):
        size, crc = len(body), zlib.crc32(name + body)
        if number == at:
            size, crc = (value, crc) if lie == "length" else (size, value)
        found.append(struct.pack(">I", size) + name + body + struct.pack(">I", crc))
    return b"".join(found)


def change_jpeg(data: bytes, random: Random) -> Change:
    """A segment before the scan: its length, its content, once more or not at all."""
    places, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        size = struct.unpack(">H", data[at + 2 : at + 4])[0]
        places.append((at, size))
        at += 2 + size
        if data[at - 2 - size + 1] == 0xDA:
            break
    start, size = random.choice(places)
    end, name = start + 2 + size, f"segment {data[start + 1]:02x}"
    way = random.randrange(4)
    if way == 0:
        size = _number(random, 2)
        return data[: start + 2] + struct.pack(">H", size) + data[
            start + 4 :
        ], f"{name}: size {size}"
    if way == 1:
        body, how = change_bytes(data[start + 4 : end], random)
        size = min(len(body) + 2, 0xFFFF)
        return data[: start + 2] + struct.pack(">H", size) + body + data[end:], f"{name}: {how}"
    if way == 2:
        return data[:end] + data[start:], f"{name} twice"
    return data[:start] + data[end:], f"without {name}"


def change_tiff(data: bytes, random: Random) -> Change:
    """An entry of a directory: tag, type, count or value; or the place of the next directory."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[place : place + 2])
    if random.random() < 0.1:
        at, value = random.choice((4, place + 2 + 12 * count)), random.choice((place, 8, *NUMBERS))
        return data[:at] + struct.pack(order + "I", value) + data[
            at + 4 :
        ], f"next directory {value}"
    entry = place + 2 + 12 * random.randrange(count)
    (tag,) = struct.unpack(order + "H", data[entry : entry + 2])
    offset, kind = random.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"), (8, "I")))
    value = _number(random, struct.calcsize(kind))
    if kind == "H" and offset < 8:
        value = random.choice((*range(1, 17), 256, 257, 258, 259, 262, 273, 277, 279, 317, value))
    at = entry + offset
    put = struct.pack(order + kind, value)
    return data[:at] + put + data[at + len(put) :], f"tag {tag}: {value} at {offset}"


def change_riff(data: bytes, random: Random) -> Change:
    """A chunk of WebP: its size, content or name."""
    places, at = [], 12
    while at + 8 <= len(data):
        (size,) = struct.unpack("<I", data[at + 4 : at + 8])
        places.append((at, size))
        at += 8 + size + size % 2
    start, size = random.choice(places)
    name, end = data[start : start + 4], start + 8 + size
    way = random.randrange(4)
    if way == 0:
        value = _number(random, 4)
        return data[: start + 4] + struct.pack("<I", value) + data[start + 8 :], f"{name!r} {value}"
    if way == 1:
        body, how = change_bytes(data[start + 8 : end], random)
        head = name + struct.pack("<I", len(body))
        return data[:start] + head + body + b"\0" * (len(body) % 2) + data[end:], f"{name!r} {how}"
    if way == 2:
        return data[:end] + data[start:], f"{name!r} twice"
    return data[:start] + data[end:], f"without {name!r}"


def change_boxes(data: bytes, random: Random) -> Change:
    """A box of AVIF or JPEG 2000, maybe inside another: its size, content, name; or not at all."""
    places: list[tuple[int, int]] = []
    at = 0
    while at + 8 <= len(data) and len(places) < 200:
        (size,) = struct.unpack(">I", data[at : at + 4])
        name = data[at + 4 : at + 8]
        places.append((at, size or len(data) - at))
        inner = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14, b"jp2h": 8}.get(name)
        at += inner or max(size, 8)
    start, size = random.choice(places)
    name, end = data[start + 4 : start + 8], start + size
    way = random.randrange(4)
    if way == 0:
        value = _number(random, 4)
        return data[:start] + struct.pack(">I", value) + data[start + 4 :], f"{name!r} size {value}"
    if way == 1:
        body, how = change_bytes(data[start + 8 : end], random)
        keeps = body + bytes(min(max(size - 8 - len(body), 0), len(data)))
        return data[: start + 8] + keeps[: size - 8] + data[end:], f"{name!r} {how}"
    if way == 2:
        return data[:end] + data[start:], f"{name!r} twice"
    return data[:start] + data[end:], f"without {name!r}"


def change_head(data: bytes, random: Random) -> Change:
    """A number in the header of a GIF or BMP."""
    at = random.randrange(2, 60)
    width = random.choice((1, 2, 4))
    value = _number(random, width)
    put = value.to_bytes(width, "little")
    return data[:at] + put + data[at + width :], f"{value} in {width} bytes at {at}"


CHANGES: dict[str, Callable[[bytes, Random], Change]] = {
    "png": change_png,
    "jpg": change_jpeg,
    "tif": change_tiff,
    "webp": change_riff,
    "avif": change_boxes,
    "jp2": change_boxes,
    "gif": change_head,
    "bmp": change_head,
}
