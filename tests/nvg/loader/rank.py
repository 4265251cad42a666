"""One rank that streams a store, with a cache for each node: `rank.py STORE CACHES EPOCHS`.

It prints the labels of each epoch.
"""

import json
import os
import sys

from nvg.distributed import joined
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store
from nvg.training.parallel import processes_of_a_node


def main(store: str, caches: str, epochs: str) -> None:
    """Stream with the others."""
    with joined() as world:
        own = processes_of_a_node(world)
        os.environ["NVG_CACHE"] = f"{caches}/{world.rank // own}"
        loader = SequenceLoader(
            open_store(store),
            16,
            rank=world.rank,
            world_size=world.size,
            drop_last=False,
            mode=LoaderMode.STREAM,
            window=4,
            nodes=world.size // own,
        )
        found = []
        for _ in range(int(epochs)):
            found.append([label for batch in loader for label in batch.label.tolist()])
            world.wait()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
