"""What a store consists of (docs/FORMAT.md): names, manifest, records, index rows, chunk files."""
