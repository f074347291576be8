"""Sample fetches, by the layer they look at. `registry.FETCHES` imports these files when it looks for a name."""
