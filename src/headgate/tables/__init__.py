"""Stick tables (not yet implemented)."""
