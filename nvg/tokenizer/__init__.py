"""Images <-> (leaves, content): the autoencoder around the quantizer."""
