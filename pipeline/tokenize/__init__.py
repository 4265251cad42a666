"""The offline pass: a dataset of images -> a store of sequences."""
