"""Lists of ciphers: names that OpenSSL passes over in silence.

OpenSSL takes a list as long as one name of it selects something. Lists of curves and of signature algorithms with an unknown name
are errors already, and so are lists of which nothing is left (`tls.policy`).
"""

from __future__ import annotations

from collections.abc import Collection

from headgate.base.diagnostics import Location, nearest_word
from headgate.base.findings import Findings
from headgate.config.option_places import OptionPlaces
from headgate.tls.cipher_names import SUITES, cipher_names, known_words, unknown_ciphers, unknown_suites


def unknown_algorithms(
    ciphers: str | None,
    ciphersuites: str | None,
    line: Location | None,
    places: OptionPlaces,
    findings: Findings,
    *,
    side: str = "bind",
) -> None:
    """Names in `ciphers` and `ciphersuites` that the library passes over.

    Args:
        ciphers, ciphersuites: the lists, None where there is none.
        line: of the bind or server line.
        places: finds the words again.
        findings: where they go.
        side: bind or server.
    """
    # A list of which nothing is left is an error, which says more.
    for name in unknown_ciphers(ciphers) if ciphers and cipher_names(ciphers) else ():
        place = places.find(line, "ciphers", name, side=side)
        if name in SUITES:
            findings.add(
                "tls-unknown-algorithm", f"'{name}' is a cipher suite of TLS 1.3: in 'ciphers' it has no effect", place,
                remedy="TLS 1.3 offers it by default; a choice of its suites is written behind 'ciphersuites'",
            )
        else:
            _add_unknown("ciphers", name, known_words(), place, findings)
    unknown = list(unknown_suites(ciphersuites or ""))
    for name in unknown if any(one and one not in unknown for one in (ciphersuites or "").split(":")) else ():
        _add_unknown("ciphersuites", name, SUITES, places.find(line, "ciphersuites", name, side=side), findings)


def _add_unknown(
    option: str, name: str, known: Collection[str], place: Location | None, findings: Findings
) -> None:
    findings.add(
        "tls-unknown-algorithm",
        f"the TLS library knows no '{name}' and passes over it in silence: only the other names of '{option}' count", place,
        nearest=nearest_word(name, known), remedy="correct the name or take it out",
    )
