"""What leaves TLS versions out, in words: the line and the global section may only together leave none.

Called by `resolve_bind_tls` and by `tls.policy`.
"""

from __future__ import annotations

from headgate.base.diagnostics import Location, where
from headgate.config.tls_options import TlsVersions
from headgate.config.written_options import EXCLUSIONS, WrittenOptions


def limits_in_words(versions: TlsVersions, written: WrittenOptions) -> tuple[str, Location | None]:
    """Each limit with its line, and the place of one: on the line itself where one stands there.

    Args:
        versions: what is left.
        written: where its options stand.
    """
    values = {"ssl-min-ver": versions.lowest, "ssl-max-ver": versions.highest}
    texts: dict[str, str] = {}
    for option, value in values.items():
        word = written.word(option)
        if value:
            texts[option] = f"{word} {value}" if word == option else word
    texts |= {word: word for word, version in EXCLUSIONS.items() if version in versions.excluded}
    found = {text: written.places[option] for option, text in texts.items() if option in written.places}
    line = written.line
    own = [place for place in found.values() if line is not None and (place.file, place.line) == (line.file, line.line)]
    chosen = next(iter([*own, *found.values()]), line)
    if chosen is None:
        return "", None
    return " and ".join(f"'{text}' in {where(place, chosen)}" for text, place in found.items()), chosen
