"""Stick tables: entries by key, in this process or in memory that all workers share."""
