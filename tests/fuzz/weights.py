"""Changes of safetensors files: the header, numbers, names, sizes."""

import json
import struct
from random import Random

from tests.fuzz.changes import NUMBERS, Change, change_bytes, change_value


def change_weights(data: bytes, random: Random) -> Change:
    """A header that is right in length and says something else, a number, or any bytes."""
    way = random.randrange(6)
    (size,) = struct.unpack("<Q", data[:8])
    if way == 0:
        value = random.choice((*NUMBERS, 1 << 40, (1 << 64) - 1))
        return struct.pack("<Q", value) + data[8:], f"header of {value} bytes"
    if way == 1:
        return change_bytes(data, random)
    header = json.loads(data[8 : 8 + size])
    if way == 2:
        odd = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff"))
        at = 8 + size + 4 * random.randrange(max((len(data) - 8 - size) // 4, 1))
        return data[:at] + odd + data[at + 4 :], f"NaN or Inf at {at}"
    names = [name for name in header if name != "__metadata__"]
    if way == 3 and "__metadata__" in header:
        table = json.loads(header["__metadata__"]["nvg"])
        said = f"metadata{change_value(table, random)}"
        header["__metadata__"]["nvg"] = json.dumps(table)
    elif way == 4:
        name = random.choice(names)
        said = f"{name}{change_value(header[name], random)}"
    else:
        one, two = random.choice(names), random.choice(names)
        header[one], header[two] = header[two], header[one]
        said = f"{one} and {two} swapped"
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :], said
