"""A recipe as commented TOML."""

import tomllib

from pipeline.recipe.written import commented


def test_the_text_is_the_table_with_reasons() -> None:
    """Sections in order, a line on each, lists in one line, a reason only at its own key."""
    table = {
        "data": {"source": "folder", "path": 'a  "b"'},
        "autoencoder": {"model": {"multipliers": (1, 2)}, "train": {"batch_size": 8}},
        "tokenize": {"batch_size": 64},
    }
    text = commented(["what it is", ""], table, {"autoencoder.train.batch_size": "it fits"})
    assert text.startswith("# what it is\n#\n")
    lists = {"model": {"multipliers": [1, 2]}, "train": {"batch_size": 8}}
    assert tomllib.loads(text) == {**table, "autoencoder": lists}
    lines = text.splitlines()
    assert "multipliers = [1, 2]" in lines
    assert "batch_size = 8  # it fits" in lines
    assert "batch_size = 64" in lines
    assert all(lines[n - 1].startswith("# ") for n, line in enumerate(lines) if line[:1] == "[")
