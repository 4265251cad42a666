"""A key that tries to break out of a page."""

NASTY = "a/</script><script>window.hit=1</script>\"'&é漢.png"
