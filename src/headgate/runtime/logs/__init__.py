"""Where log lines go: sinks that never block, and the emitters of the proxies. The text of a line is made in `plan`."""
