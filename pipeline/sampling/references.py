"""What a user gives to steer sampling: a user-drawn picture, a mask, a row of a store, an image.

Legend: N position, D row or column of pixels or of the grid.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.files import parse_json
from nvg.geometry import Geometry
from nvg.sampling.control import (
    Condition,
    Control,
    edit_region,
    keep_stages,
    require_stages,
)
from nvg.sequence import Sequences
from nvg.store import Store, open_store
from nvg.structure import grid_labels
from nvg.structure.drawn import leaves_of_regions
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder, require_trusted
from nvg.weights import fingerprint
from pipeline.images.crops import Crops
from pipeline.images.decode import ImageError, decode_views, open_picture
from pipeline.images.label_maps import label_map

MOST_KEPT = 64  # stages that --keep may name; a grid has fewer
DETAIL = 8  # samples along the side of a latent position; their majority counts
WHITE = 127  # above: white
MOST_CODE = 2**31 - 1
TOKEN_NAMES = ("leaves", "content", "tokenizer")  # of a reference in JSON


def picture_control(path: Path, keep: str | None, geometry: Geometry, count: int) -> Control:
    """`count` images whose first stages follow a user-drawn picture (`nvg.structure.drawn`).

    As many stages as it determines, or as `keep` says. InputError for an unusable picture.
    """
    regions_N = on_grid(label_map_of(path), geometry.grid)
    kept = parse_keep(keep) if keep else []
    if Condition.ALL in kept:
        raise InputError("a picture has structure only: --keep structure:M, not all:M")
    return drawing_control(regions_N, len(kept) if keep else None, geometry, count)


def drawing_control(regions_N: Any, stages: int | None, geometry: Geometry, count: int) -> Control:
    """`count` images whose first stages follow regions [N] on the latent grid.

    As many stages as the regions determine, unless said. InputError for unusable regions.
    """
    leaves_N, determined = leaves_of_regions(regions_N.reshape(geometry.grid, -1), geometry)
    if stages is not None:
        require_stages(stages, geometry)
    return Control(leaves_N.expand(count, -1), determined if stages is None else stages)


def reference_control(
    reference: Sequences, keep: str | None, mask: Path | None, geometry: Geometry, count: int
) -> Control:
    """`count` images that keep first stages of a reference, or all of it but a marked region."""
    if mask:
        if keep:
            raise InputError("--mask keeps all that it does not mark: leave --keep out")
        marked_N = on_grid(mask_of(mask), geometry.grid) > 0
        return edit_region(reference, geometry, torch.from_numpy(marked_N), count)
    if not keep:
        raise InputError("--reference needs --keep structure:M or all:M, or a --mask")
    return keep_stages(reference, geometry, parse_keep(keep), count)


def parse_keep(text: str) -> list[Condition]:
    """What each first stage keeps: `structure:M` or `all:M`, or several up to ever later stages.

    `all:2,structure:5` keeps all of the first two stages, and the structure of the next three.
    """
    kept: list[Condition] = []
    for part in text.split(","):
        what, _, number = part.partition(":")
        if what not in list(Condition) or not number.isdecimal() or int(number) > MOST_KEPT:
            raise InputError(f"--keep {text!r} is neither structure:M nor all:M")
        if int(number) <= len(kept) and kept:
            raise InputError(f"--keep {text!r}: let each number be larger than the one before it")
        kept += [Condition(what)] * (int(number) - len(kept))
    return kept


def keep_text(kept: Sequence[Condition]) -> str:
    """What `parse_keep` reads as that."""
    ends = [n for n in range(1, len(kept) + 1) if n == len(kept) or kept[n] != kept[n - 1]]
    return ",".join(f"{kept[end - 1].value}:{end}" for end in ends)


def load_reference(
    text: str, identity: str, tokenizer: Path | None, trust: bool = False
) -> Sequences:
    """The first view of a row, `STORE:ROW`, tokens in a .json, or an image through the tokenizer.

    `identity` is the tokenizer the generators were trained with; InputError when the reference is
    of another, or is not there, and where the tokenizer names code as its builder without `trust`.
    """
    row = re.fullmatch(r"(.+\.vgs/?):([0-9]{1,18})", text)
    if row:
        return row_sequences(open_store(row[1]), int(row[2]), identity)
    if text.endswith(".json"):
        return tokens_of(_read(Path(text), bytes), identity)
    return _of_image(text, identity, tokenizer, trust)


def tokens_of(data: bytes, identity: str) -> Sequences:
    """One image from a JSON object with leaves, content and tokenizer; InputError."""
    try:
        found = parse_json(data)
        leaves, content, tokenizer = (found[name] for name in TOKEN_NAMES)
        is_whole = all(type(n) is int and n >= 0 for n in (*leaves, *content))
    except (ValueError, TypeError, KeyError):
        is_whole = False
    if not is_whole:
        raise InputError(f"a reference in JSON has lists of numbers: {', '.join(TOKEN_NAMES)}")
    return token_sequences(leaves, content, str(tokenizer), identity)


def token_sequences(
    leaves: Sequence[int], content: Sequence[int], tokenizer: str, identity: str
) -> Sequences:
    """One image of such numbers; InputError where they are no image, or another tokenizer's."""
    if tokenizer != identity:
        raise InputError(
            f"the reference has tokens of tokenizer {tokenizer[:12]}, the generators were trained "
            f"with {identity[:12]}"
        )
    if sorted(leaves) != list(range(len(leaves))) or len(content) != 2 * len(leaves) - 1:
        raise InputError("the reference is no image: leaves are 0..N-1 in any order, content 2N-1")
    if max(content) > MOST_CODE or min(content) < 0:
        raise InputError(f"the reference has a token outside 0..{MOST_CODE}")
    leaves_BN, content_BT = (torch.tensor([list(each)]) for each in (leaves, content))
    return Sequences(leaves_BN, content_BT, _NO_CLASS)


def require_codes(reference: Sequences, codes: int) -> Sequences:
    """Itself; InputError for a token outside the codebook."""
    if int(reference.content.max()) >= codes:
        raise InputError(f"the reference has a token outside the codebook of {codes}")
    return reference


def row_sequences(store: Store, row: int, identity: str) -> Sequences:
    """The first view of a row of a store; InputError where it has no tokens of that tokenizer."""
    store.require_tokenizer(identity)
    store.token_entries([row])
    leaves, content = (torch.from_numpy(each[0, :1]) for each in store.row_tokens([row]))
    return Sequences(leaves, content, _NO_CLASS)


def open_tokenizer(run: Path, identity: str, trust: bool = False) -> Autoencoder:
    """The autoencoder of a run; InputError unless it is the one of that identity.

    And where it names code as its builder without `trust`.
    """
    model = load_autoencoder(run, trust)
    if not trust:
        require_trusted(model.config, run)
    if fingerprint(model) != identity:
        raise InputError(
            f"{run} is not the tokenizer {identity[:12]} the generators were trained with"
        )
    return model


def _of_image(text: str, identity: str, tokenizer: Path | None, trust: bool) -> Sequences:
    if not Path(text).is_file():
        raise InputError(f"reference {text!r} is neither STORE.vgs:ROW nor an image file")
    if tokenizer is None:
        raise InputError("a reference image needs --tokenizer, the autoencoder's run directory")
    model = open_tokenizer(tokenizer, identity, trust)
    size = model.config.image_size
    try:
        pixels = decode_views(Path(text).read_bytes(), Crops(size)).pixels
    except ImageError as error:
        raise InputError(f"reference {text} cannot be used: {error}") from None
    leaves, content, _ = model.tokenize(torch.from_numpy(pixels))
    return Sequences(leaves.long(), content, _NO_CLASS)


_NO_CLASS = torch.tensor([-1])


def label_map_of(path: Path) -> Any:
    """Region ids of a picture file, int32 [D, D']."""
    return _read(path, label_map)


def mask_of(path: Path) -> Any:
    """A mask file as 0 and 1, int32 [D, D']: white is 1."""
    return _read(path, white)


def white(data: bytes) -> Any:
    """Where a picture is white, 0 or 1, int32 [D, D']; ImageError when it is none."""
    return open_picture(
        data, lambda image: (np.asarray(image.convert("L")) > WHITE).astype(np.int32)
    )


def _read(path: Path, use: Any) -> Any:
    try:
        return use(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ImageError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def on_grid(label_DD: Any, grid: int) -> Any:
    """The majority label of each latent position, [N]; the picture is stretched over the image."""
    place = (np.arange(grid * DETAIL) + 0.5) / (grid * DETAIL)
    rows, columns = ((place * size).astype(np.int64).clip(max=size - 1) for size in label_DD.shape)
    fine = np.ascontiguousarray(label_DD[rows][:, columns])[None]
    found: Tensor = grid_labels(torch.from_numpy(fine), 1, grid * grid)
    return found[0].numpy()
