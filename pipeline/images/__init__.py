"""Bytes of images -> pixels: decode, crop, label maps."""
