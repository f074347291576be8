"""The runtime API: command text in, text out. Knows no socket."""
