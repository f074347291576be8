"""The process itself: background, pid file, limits, identity, master and worker. Called by `cli.run`, around the event loop."""
