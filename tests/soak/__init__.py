"""Long trials of what must survive anything; run by hand, each prints what it did."""
