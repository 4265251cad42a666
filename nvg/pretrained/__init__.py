"""Networks with published weights, read from local files: ViT, LPIPS, Inception, EfficientNet."""
