"""What a bind or server line allows, in the words of the configuration: what records are compared with and advice cites.

Facts of the configuration only, made when a handshake is explained. `server_context` and `client_context` fill them in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.base.regex import regex
from headgate.config.tls_options import CertificateLine
from headgate.config.written_options import WrittenOptions
from headgate.tls.certified_key import CertifiedKey
from headgate.wire.tls_names import GROUP_ALIASES, is_newest_signature, signature_of

#: What OpenSSL agrees to where `curves` is not set, best first.
DEFAULT_GROUPS: Final = (
    "X25519MLKEM768", "X25519", "P-256", "X448", "P-384", "P-521", "ffdhe2048", "ffdhe3072",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate of ours that could be shown to the peer.

    Attributes:
        path: its file.
        kind: of its key: `rsa`, `ecdsa`, `dsa`, `eddsa`.
        names: that it is valid for, lower case, wildcards with their star.
        not_before, not_after: its validity, seconds since the epoch.
        chain: how many CA certificates are sent with it.
        self_signed: its own issuer.
        curve: of an ECDSA key, as `wire.tls_names` calls the group; "" of others.
    """

    path: str
    kind: str
    names: tuple[str, ...]
    not_before: float = 0.0
    not_after: float = 0.0
    chain: int = 0
    self_signed: bool = False
    curve: str = ""

    def covers(self, name: str) -> bool:
        """Whether a client that asks for this name accepts the certificate's names (RFC 6125 section 6.4)."""
        return name in self.names or "*." + name.partition(".")[2] in self.names


#: TLS versions whose handshakes need SHA-1, which OpenSSL's security level forbids unless it is 0.
OLD_VERSIONS: Final = ("TLSv1.0", "TLSv1.1")
_LEVEL: Final = regex(r"@SECLEVEL=([0-5])")
#: OpenSSL's security level where a cipher list says nothing.
USUAL_LEVEL: Final = 2
#: Options whose names the configuration's model does not keep.
_KEYWORDS: Final = {"lowest": "ssl-min-ver", "highest": "ssl-max-ver"}


@dataclass(frozen=True, slots=True)
class ListedOptions:
    """What a line of a crt-list, or an `ssl-f-use` one, says otherwise than its bind line (manual 5.1 crt-list, 4.2 ssl-f-use).

    Attributes:
        location: of that line.
        names: of its options: "ssl-min-ver".
    """

    location: Location
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class VersionLimits:
    """What keeps TLS versions out.

    Attributes:
        lowest, highest: what `ssl-min-ver` and `ssl-max-ver` leave, or the defaults.
        excluded: by `no-tlsv10` and the like.
        too_weak: allowed, but OpenSSL's security level does not let them be negotiated; oldest first.
    """

    lowest: str = "TLSv1.2"
    highest: str = "TLSv1.3"
    excluded: frozenset[str] = frozenset()
    too_weak: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineFacts:
    """One line's side of a handshake.

    Attributes:
        location: of the bind or server line.
        listed: what another line has put in the place of its options; None for nothing.
        versions: TLS versions that it allows, oldest first: "TLSv1.2"; limits: what keeps the others out.
        ciphers: as it was written, None for the default.
        offers_dhe: there are DH parameters; withheld: the ciphers that are not used since there are none.
        groups: names, best first.
        signatures: names of signature algorithms, best first; empty: those of the TLS library.
        asked_signatures: those of `client-sigalgs`, where certificates are asked for; empty as `signatures`.
        alpn: protocols, best first.
        strict_sni: a name that no certificate matches ends the handshake.
        requires_certificate: `verify required` on a bind line.
        ca_file, crl_file: where the trust comes from, None for none.
        certificates: the one that the client has seen, or those that the name asked for is answered with where that is not known;
            none in a session that is taken up; of a server line the client certificate.
        near: the names that are served and most resemble one, for messages.
        ca_sign_file: the CA that made the certificates for that name (`generate-certificates`), None where they are files.
        named_by: the line of a crt-list whose filters give the name asked for to the certificate; None: it has that by itself.
        written: where the options of the line itself stand; twice: those of them that leave a version out and that the global
            section has as well.
        by_default: the certificates are the default ones: no name was asked for, or none that another certificate has.
        elsewhere: paths of those that have another policy than what is said here.
    """

    location: Location | None
    versions: tuple[str, ...]
    groups: tuple[str, ...] = DEFAULT_GROUPS
    alpn: tuple[str, ...] = ()
    strict_sni: bool = False
    requires_certificate: bool = False
    ca_file: str | None = None
    crl_file: str | None = None
    certificates: tuple[ShownCertificate, ...] = ()
    near: Callable[[str], tuple[str, ...]] | None = None
    listed: ListedOptions | None = None
    named_by: Location | None = None
    ca_sign_file: str | None = None
    signatures: tuple[str, ...] = ()
    asked_signatures: tuple[str, ...] = ()
    limits: VersionLimits = VersionLimits()
    ciphers: str | None = None
    offers_dhe: bool = True
    withheld: tuple[str, ...] = ()
    written: WrittenOptions = WrittenOptions()
    twice: frozenset[str] = frozenset()
    by_default: bool = False
    elsewhere: tuple[str, ...] = ()

    @property
    def can_ask(self) -> bool:
        """Whether a client of TLS 1.3 can be asked for a certificate; otherwise OpenSSL ends each of its handshakes."""
        return not self.asked_signatures or any(is_newest_signature(one) for one in self.asked_signatures)

    def place_of(self, option: str) -> Location | None:
        """Where an option stands that holds here; the line itself for what is written nowhere."""
        if self.is_listed(option):
            return self.listed.location if self.listed is not None else None
        return self.written.places[option] if self.is_global(option) else self.location

    def is_listed(self, option: str) -> bool:
        """Whether another line has put an option in the place of the bind line's."""
        return self.listed is not None and option in self.listed.names

    def is_global(self, option: str) -> bool:
        """Whether an option that holds here is one of `ssl-default-bind-*` or `ssl-default-server-*` (manual 3.1)."""
        place = None if self.is_listed(option) else self.written.places.get(option)
        return place is not None and place.text.lstrip().startswith("ssl-default-")

    def word(self, option: str) -> str:
        """The word by which an option is written that holds here; "" for what is written nowhere."""
        if self.is_listed(option):
            return option
        return self.written.word(option) if option in self.written.places else ""


def listed_options(line: CertificateLine) -> ListedOptions | None:
    """What a line of a crt-list says otherwise than its bind line."""
    if not line.options or line.location is None:
        return None
    return ListedOptions(line.location, frozenset(_KEYWORDS.get(name, name.replace("_", "-")) for name, _ in line.options))


def shown(one: CertifiedKey) -> ShownCertificate:
    """What advice says about a certificate."""
    certificate = one.certificate
    return ShownCertificate(
        one.path, one.kind, tuple(name.decode("utf-8", "replace") for name in one.names), one.not_before, one.not_after,
        len(one.chain), certificate.issuer == certificate.subject, _curve(certificate),
    )  # fmt: skip


def _curve(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return GROUP_ALIASES.get(key.curve.name, key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else ""


def group_names(curves: str | None) -> tuple[str, ...]:
    """The groups of `curves`, under the names of `wire.tls_names`; OpenSSL's own choice without it.

    OpenSSL takes marks too: `*` sends a key share, `?` forgives unknown names, `-` removes, `/` separates equals.
    """
    if not curves:
        return DEFAULT_GROUPS
    names: dict[str, None] = {}
    for one in curves.replace("/", ":").split(":"):
        name = one.strip(" ?*")
        if name.upper() == "DEFAULT":
            names |= dict.fromkeys(DEFAULT_GROUPS)
        elif name.startswith("-"):
            names.pop(GROUP_ALIASES.get(name[1:], name[1:]), None)
        elif name:
            names[GROUP_ALIASES.get(name, name)] = None
    return tuple(names)


def security_level(ciphers: str | None) -> int:
    """OpenSSL's security level, 0 to 5: the last one that a cipher list sets, else its own.

    >>> security_level(None), security_level("HIGH:@SECLEVEL=3"), security_level("@SECLEVEL=0:HIGH:@SECLEVEL=1")
    (2, 3, 1)
    """
    levels = _LEVEL.findall(ciphers or "")
    return int(levels[-1]) if levels else USUAL_LEVEL


def at_level_0(ciphers: str | None) -> bool:
    """Whether a cipher list sets OpenSSL's security level to 0, which lets through what is not safe today."""
    return security_level(ciphers) == 0


def signature_names(sigalgs: str | None) -> tuple[str, ...]:
    """The signature algorithms of `sigalgs`, under the names of `wire.tls_names`; nothing without it.

    OpenSSL forgives unknown names behind a `?`.
    """
    return tuple(dict.fromkeys(signature_of(one.strip(" ?")) for one in (sigalgs or "").split(":") if one))
