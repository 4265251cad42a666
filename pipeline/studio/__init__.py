"""The studio: draw, sample, keep and edit in a browser, over the sampler as it is."""
