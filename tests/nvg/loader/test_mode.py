"""Where rows come from."""

from nvg.loader.mode import LoaderMode


def test_auto_takes_half_of_the_free_memory_at_most() -> None:
    """What is named is kept, whether it fits or not."""
    assert LoaderMode.AUTO.settled(needed=50, free=100) is LoaderMode.MEMORY
    assert LoaderMode.AUTO.settled(needed=51, free=100) is LoaderMode.STREAM
    assert LoaderMode.MEMORY.settled(needed=1000, free=1) is LoaderMode.MEMORY
    assert LoaderMode.STREAM.settled(needed=1, free=1000) is LoaderMode.STREAM
