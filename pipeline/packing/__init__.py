"""A run as a folder to hand on: what others need of it, its card and its list of files."""
