"""Tests of nvg.format."""
