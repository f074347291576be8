"""Command line -> calls. HAProxy's flags."""
