"""Config -> immutable compiled plan: the only place where configuration meets the wire.

Fetches, converters, matchers and actions are rows in registries; rules, conditions and log formats are compiled to closures over
`facts.Stream`. Nothing is parsed, looked up by name or converted per request that could be done once here.
"""
