"""Tests of nvg.compose: stores of other stores' rows."""
