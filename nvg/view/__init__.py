"""Looking at stores: text, figures, pages, a local server."""
