"""Versions that a line allows and that nobody can speak here: the TLS library, or its security level, does not have them.

`ssl-min-ver` takes all names of the manual (5.1, 5.2), since configurations have them; what then holds is less than that.
"""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.base.findings import Findings
from headgate.config.option_places import OptionPlaces
from headgate.config.tls_options import TlsVersions
from headgate.tls.handshake_words import allowed_versions, version_list
from headgate.tls.policy import negotiable_versions, version_limits

_GONE = "SSLv3"


def lint_versions(
    versions: TlsVersions,
    ciphers: str | None,
    line: Location | None,
    places: OptionPlaces,
    findings: Findings,
    *,
    side: str = "bind",
) -> None:
    """A lowest version that can't be negotiated.

    Args:
        versions: what the line allows.
        ciphers: its list, None for the default.
        line: of the bind or server line.
        places: finds the option again.
        findings: where it says what it found.
        side: bind or server.
    """
    left = negotiable_versions(versions, ciphers)
    if not left:
        return  # an error, which was said when the context was built
    too_weak = version_limits(versions, ciphers).too_weak
    who = "clients" if side == "bind" else "the server"
    holds = f"{who} can speak {allowed_versions(left)}"
    if versions.lowest == _GONE:
        findings.add(
            "tls-unavailable-version", f"the TLS library does not contain {_GONE} any more: {holds}",
            places.find(line, "ssl-min-ver", _GONE, side=side), remedy=f"write 'ssl-min-ver {left[0]}', which is what holds",
        )
    elif too_weak:
        level = "'ciphers DEFAULT:@SECLEVEL=0'" if ciphers is None else "':@SECLEVEL=0' at the end of the list of 'ciphers'"
        findings.add(
            "tls-unavailable-version", f"OpenSSL's security level does not allow {version_list(too_weak)}: {holds}",
            places.find(line, "ssl-min-ver", versions.lowest or "", side=side),
            remedy=f"write {level} if you must serve them, or 'ssl-min-ver {left[0]}', which is what holds",
        )
