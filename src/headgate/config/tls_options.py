"""TLS as written on bind and server lines (5.1, 5.2): a part of the resolved configuration, see `model`."""

from __future__ import annotations

import enum

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.config.expression import SampleExpression


class Verify(enum.Enum):
    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class TlsVersions:
    """`ssl-min-ver`, `ssl-max-ver`, `no-*`, `force-*`: lowest and highest of "SSLv3", "TLSv1.0" ... "TLSv1.3"; None: unset."""

    lowest: str | None = None
    highest: str | None = None
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BindTls:
    """The `ssl` options of a bind line (5.1), `ssl-default-bind-*` merged in.

    `certificates` are the paths behind `crt`, in order, made absolute with `crt-base`; the first one is the default.
    """

    certificates: tuple[CertificateFile, ...]
    ca_file: str | None = None
    verify: Verify = Verify.NONE
    versions: TlsVersions = TlsVersions()
    ciphers: str | None = None
    ciphersuites: str | None = None
    curves: str | None = None
    alpn: tuple[str, ...] = ()
    strict_sni: bool = False
    tickets: bool = True
    prefer_client_ciphers: bool = False
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A `crt FILE|DIR` argument and where it was written."""

    path: str
    location: Location


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The `ssl` options of a server line (5.2), `ssl-default-server-*` merged in.

    `renegotiate`: follow when a server asks for it, up to TLS 1.2.
    """

    verify: Verify = Verify.REQUIRED
    ca_file: str | None = None
    crl_file: str | None = None
    verify_host: str | None = None
    sni: SampleExpression | None = None
    certificate: str | None = None
    versions: TlsVersions = TlsVersions()
    ciphers: str | None = None
    ciphersuites: str | None = None
    curves: str | None = None
    sigalgs: str | None = None
    alpn: tuple[str, ...] = ()
    reuse: bool = True
    tickets: bool = True
    renegotiate: bool = True
    location: Location | None = None
