"""haproxy.cfg text -> typed model.

text -> `words` (tokens with places) -> `cursor` -> keyword rows in `registry` -> drafts -> `resolve` -> frozen dataclasses in
`model`. Knows nothing of bytes on a wire. Every error carries file, line, column, what is allowed and the nearest word.
"""
