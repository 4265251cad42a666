"""Which files are images, by their names or first bytes, and what else lies beside images."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".webp", ".gif"),
    *(".tif", ".tiff", ".avif", ".jp2"),
}
JUNK_FILES = {"thumbs.db", "desktop.ini", "icon\r"}
JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
HEAD = 16  # bytes that tell an image

JUNK = "hidden, or left by a system"
OUTSIDE = "outside a class folder"
OUTSIDE_SPLITS = "outside the split folders"
NO_IMAGE = "without suffix, and no image"
SHOWN = 6  # reasons on the screen


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden (`._a.jpg`) or left by a system."""
    return name.startswith(".") or name.lower() in JUNK_FILES | JUNK_FOLDERS


def why_no_image(key: str) -> str:
    """Why a file is no image by its path alone: "" for an image, or for a name without suffix."""
    path = PurePosixPath(key)
    if any(map(is_junk, path.parts)):
        return JUNK
    suffix = path.suffix.lower()
    return f"of an unknown suffix ({suffix})" if suffix and suffix not in SUFFIXES else ""


def sample_name(path: PurePosixPath) -> str:
    """What the members of one sample are called: the path up to the first dot of its name."""
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def starts_an_image(head: bytes) -> bool:
    """Whether a file that begins so is an image of a format that is decoded."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*"))
        or head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1"))
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
    )


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """One line that says how many files are no rows, and why; none where all are."""
    if not left_out:
        return []
    reasons = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count} {reason}" for reason, count in reasons[:SHOWN]]
    if rest := sum(count for _, count in reasons[SHOWN:]):
        told.append(f"{rest} for other reasons")
    count = sum(left_out.values())
    return [f"left out: {count} file{'s' * (count != 1)}: {', '.join(told)}"]


def add_up(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason is given; "" is none."""
    return dict(Counter(filter(None, reasons)))
