"""The keyword families. Importing this package fills `registry.KEYWORDS`: each family adds its rows when it is imported."""
