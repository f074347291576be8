"""Counters, and what is said with them."""
