"""What `headgate -c` finds in a configuration that is valid and surely not meant: the table of kinds, and their collector.

A finding is a warning with a stable code, so that an operator who knows better can silence its kind (`lint-ignore` of the global
section). It never keeps anything from starting: `headgate -c --strict` alone fails on one. Filled by `config.lint_rules` and
`tls.lint`, called by `app.prepare`.
"""

from __future__ import annotations

from headgate.base.diagnostics import Bug, Diagnostic, Location, Report, Severity

#: Kinds of findings and what each is about. Codes are kept for ever: configurations name them.
CODES: dict[str, str] = {
    "tls-incomplete-chain": "the intermediate certificates between a certificate and its root are not in its file",
    "tls-expired": "a certificate, one of its intermediates, a CA or a revocation list is past its last day",
    "tls-not-yet-valid": "a certificate, one of its intermediates, a CA or a revocation list is valid only later",
    "tls-expires-soon": "a certificate, one of its intermediates, a CA or a revocation list ends within 30 days",
    "tls-weak-key":
        "an RSA key has less than 2048 bits, or an elliptic curve less than 224; a CA's key is below the line's security level",
    "tls-weak-signature": "a certificate is signed with MD5 or SHA-1",
    "tls-name-twice": "two certificates of one type of key answer to one name, or one with different options",
    "tls-filter-not-covered": "an SNI filter of a crt-list names something that its certificate is not valid for",
    "tls-unknown-algorithm": "a list of ciphers, curves or signature algorithms has a name that the TLS library does not know",
    "tls-unusable-ciphers": "no certificate of the line can be used with any of its ciphers",
    "tls-unusable-groups": "TLS 1.2 is allowed, and no group of the line is one that it has",
    "tls-unusable-sigalgs": "no certificate of the line can make any of its signatures",
    "tls-old-versions": "neither TLS 1.2 nor TLS 1.3 is allowed",
    "tls-unavailable-version": "the lowest version of a line is one that the TLS library or its security level does not have",
    "tls-must-staple": "a certificate that must come with an OCSP response has none",
    "tls-no-client-root": "client certificates are verified with CAs, and no root is among them",
    "tls-no-revocation-list": "a CA of client certificates has no list in the `crl-file`",
    "tls-key-readable": "everybody on the machine can read a private key, or keys of tickets",
    "tls-state-directory": "the user that headgate runs as can't write to the `crt-state-dir`",
    "tls-no-server-name": "a server's certificate is verified, and for no name",
    "tls-verify-unused": "client certificates are optional, and nothing looks whether one came",
    "tls-has-crt": "a rule asks `ssl_fc_has_crt`, which is false on resumed sessions, instead of `ssl_c_used`",
    "tls-unserved-name": "a rule is about a name that no certificate of the frontend is valid for",
    "unreachable-backend": "a `use_backend` or `default_backend` that no request can reach",
    "impossible-condition": "a rule asks for the ClientHello where TLS is terminated, so that it is never there",
}

#: Of one kind so many are shown; the others are counted.
SHOWN = 5


class Findings:
    """Collects findings, those that nobody wants to hear left out.

    Args:
        ignored: codes behind `lint-ignore`.
    """

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self._ignored = ignored
        self._items: list[Diagnostic] = []
        self._counts: dict[str, int] = {}
        self._said: set[tuple[str, str, Location | None]] = set()

    def wants(self, code: str) -> bool:
        """Whether findings of this kind are looked at: what is costly to find out need not be."""
        if code not in CODES:
            raise Bug(f"no such kind of finding: {code}")
        return code not in self._ignored

    def add(
        self, code: str, message: str, location: Location | None, *, remedy: str, nearest: str | None = None
    ) -> None:
        """Record one; the same thing of the same place counts once, for instance of a default of the global section.

        Args:
            code: its kind, of `CODES`.
            message: what is there and what follows from it, without a full stop.
            location: where.
            remedy: what to do about it.
            nearest: the known word that was meant.
        """
        said_before = (code, message, location)
        if not self.wants(code) or said_before in self._said:
            return
        self._said.add(said_before)
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count <= SHOWN:
            said = f"{message} [{code}]"
            self._items.append(Diagnostic(Severity.WARNING, said, location, nearest=nearest, remedy=remedy, code=code))

    def tell(self, report: Report) -> None:
        """Hand them on, kind by kind, with the number of those that were not kept."""
        for code in CODES:
            for item in self._items:
                if item.code == code:
                    report.add(item)
            more = self._counts.get(code, 0) - SHOWN
            if more > 0:
                report.add(Diagnostic(Severity.WARNING, f"and {more} more like this [{code}]", code=code))
