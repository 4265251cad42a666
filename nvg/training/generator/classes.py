"""Weights of a generator for other classes than it was trained on: embeddings that stay, and new.

Legend: M vector of a flat list, W width.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from nvg.sampling.generators import CLASSES, class_list
from nvg.store import Store
from nvg.weights import load_weights, read_tensors

EMBEDDING = "backbone.class_embedding.weight"
NEW = -1


def class_rows(run: Path, count: int, store: Store) -> list[int] | None:
    """For each class of a store its row among the `count` of a run, NEW for one it does not know.

    Classes agree by name. None where all stay: the same, or numbers, which stand for any names.
    """
    wanted, file = list(store.manifest.classes), run / CLASSES
    names = class_list(file) if file.exists() else [str(n) for n in range(count)]
    if names == wanted or (len(wanted) == count and names == [str(n) for n in range(count)]):
        return None
    known = {name: row for row, name in enumerate(names)}
    return [known.get(name, NEW) for name in wanted]


def load_for_classes(module: nn.Module, file: Path, rows: Sequence[int] | None) -> None:
    """Fill a generator from a file; rows of class embeddings as `class_rows` says.

    A NEW class keeps the embedding that the module has; the null class, which is last, is taken.
    CheckpointError where the rest does not fit.
    """
    if rows is None:
        load_weights(module, file)
        return
    weights = read_tensors(file)
    embedding_MW = module.state_dict()[EMBEDDING].detach().cpu().clone()
    for label, row in enumerate((*rows, len(weights[EMBEDDING]) - 1)):
        if row != NEW:
            embedding_MW[label] = weights[EMBEDDING][row]
    load_weights(module, {**weights, EMBEDDING: embedding_MW}, str(file))
