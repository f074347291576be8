"""Benchmarks that run headgate beside HAProxy and nginx. Started by `make bench`; not part of the installed package."""
