"""What every source has: digests, and names that an index can hold."""

import pytest

from pipeline.sources import SourceError
from pipeline.sources.base import digest, require_unicode


def test_half_a_character_is_refused() -> None:
    """Before a pass begins, by the name; any other text is fine."""
    require_unicode(["a", "é", "日本"], "folder")
    with pytest.raises(SourceError, match=r"folder: the name .*ud800.* is not UTF-8"):
        require_unicode(["a", "\ud800"], "folder")


def test_a_digest_tells_lines_apart() -> None:
    """Also where the text in a row is the same."""
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])
    assert digest(iter(["a"])) == digest(["a"])
