"""Runs and weights by URL: fetched once into a cache folder, checked, and used from there."""

from nvg.fetch.cache import Use as Use
from nvg.fetch.cache import fetched as fetched
from nvg.fetch.cache import named as named
