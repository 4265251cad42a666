"""Tests of nvg.parts."""
