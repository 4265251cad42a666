"""PNGs whose pixels are sound and whose other chunks are not: without what a decoder stumbles on.

Pillow refuses a PNG for text or a colour profile of over 1 MB, for a gamma that is too short and
for a wrong checksum of a comment. None of these says anything about the pixels.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""What pixels are made of; the first frame of an animation is in IDAT."""
PROFILE, ORIENTED = b"iCCP", b"eXIf"
MOST_PROFILE = 1 << 24  # bytes of a colour profile when unpacked


def without_metadata(data: bytes) -> tuple[bytes, bytes | None] | None:
    """The chunks that make pixels and the orientation, and the colour profile unpacked.

    None for other formats, for a file without chunks, and where there is nothing to leave out.
    A profile that is broken or too large is left out too.
    """
    if not data.startswith(SIGNATURE):
        return None
    kept, profile, is_less = [SIGNATURE], None, False
    for name, body, whole in _chunks(data):
        is_sound = whole[-4:] == struct.pack(">I", zlib.crc32(name + body))
        if name in NEEDED or (name == ORIENTED and is_sound):
            kept.append(whole)
            continue
        is_less = True
        if name == PROFILE and is_sound:
            profile = _unpacked(body)
    return (b"".join(kept), profile) if is_less else None


def _chunks(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Name, content and all bytes of each chunk, as far as they are whole; the rest as the last."""
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        (size,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):  # cut short: pixels up to here are the decoder's to judge
            found.append((name, data[at + 8 :], data[at:]))
            break
        found.append((name, data[at + 8 : end - 4], data[at:end]))
        at = end
    return found


def _unpacked(body: bytes) -> bytes | None:
    """A colour profile as it is; None for what is none, or is too large."""
    _, _, packed = body.partition(b"\0")
    machine = zlib.decompressobj()
    try:
        profile = machine.decompress(packed[1:], MOST_PROFILE)
    except zlib.error:
        return None
    return profile if machine.eof else None
