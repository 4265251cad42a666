"""Parts of a linked store: where they lie, which row is whose, and their arrays as one."""
