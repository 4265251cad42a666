"""Stores of stores: merged, chosen from, mixed, and searched for duplicates."""
