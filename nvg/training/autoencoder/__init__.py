"""Training of the autoencoder (A.5)."""
