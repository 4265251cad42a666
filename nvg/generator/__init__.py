"""The generators (Sec. 2.2): the transformer both share, content, structure."""
