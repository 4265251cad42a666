"""Reading keys by the parts they lie in: order, laziness, each part once."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.grouped import read_grouped


class Shelves:
    """Keys `PART:NAME`, whose result is the key itself; remembers what was opened and read."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.taken: list[str] = []

    def read(self, part: str, keys: list[str]) -> Iterator[str]:
        self.opened.append(part)
        for key in keys:
            assert key.split(":")[0] == part
            self.taken.append(key)
            yield key


@given(keys=st.lists(st.builds(lambda p, n: f"{p}:{n}", st.sampled_from("abc"), st.integers(0, 9))))
def test_results_come_in_the_order_of_the_keys(keys: list[str]) -> None:
    """Repeats included; every part is opened once, by the order of first keys."""
    shelves = Shelves()
    found = list(read_grouped(keys, lambda key: key.split(":")[0], shelves.read))
    assert found == keys
    assert shelves.opened == list(dict.fromkeys(key.split(":")[0] for key in keys))


def test_keys_in_order_of_their_parts_wait_for_nothing() -> None:
    """A result is passed on before the next is read; others wait for those before them."""
    shelves = Shelves()
    found = read_grouped(["a:0", "a:1", "b:0"], lambda key: key.split(":")[0], shelves.read)
    assert [(next(found), len(shelves.taken)) for _ in range(3)] == [
        ("a:0", 1),
        ("a:1", 2),
        ("b:0", 3),
    ]
    shelves = Shelves()
    mixed = read_grouped(["a:0", "b:0", "a:1"], lambda key: key.split(":")[0], shelves.read)
    assert [(next(mixed), len(shelves.taken)) for _ in range(3)] == [
        ("a:0", 1),
        ("b:0", 3),
        ("a:1", 3),
    ]
