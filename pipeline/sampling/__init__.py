"""The sampling verb: class labels and what steers them -> images in files."""
