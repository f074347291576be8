"""TLS as written on bind and server lines (5.1, 5.2): a part of the resolved configuration, see `model`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass, field
from headgate.config.client_auth import NOTHING_IGNORED, IgnoredErrors
from headgate.config.expression import SampleExpression
from headgate.config.written_options import VERSIONS, WrittenOptions


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

    def excluded_behind(self, options: PolicyOptions) -> frozenset[str]:
        """What stays excluded on a crt-list line: a new end takes the place of what `no-*` says about it.

        That is how HAProxy does it.
        """
        ends = {name for name, _ in options}
        above = frozenset(one for number, one in enumerate(VERSIONS) if self.excluded.issuperset(VERSIONS[number:]))
        replaced = (above if "highest" in ends else frozenset()) | (self.excluded - above if "lowest" in ends else frozenset())
        return self.excluded - replaced


@dataclass(frozen=True, slots=True)
class BindPolicy:
    """What a bind line says to the clients of its certificates, and a line of a crt-list or `ssl-f-use` may say otherwise.

    The fields are exactly the options that manual 5.1 "crt-list" lists (`ecdhe` is a `curves` of one). Each name on a bind line
    has one policy: its own options laid over the line's, see `overlaid`.
    """

    alpn: tuple[str, ...] = ()
    allow_0rtt: bool = False
    ca_file: str | None = None
    ca_verify_file: str | None = None
    ciphers: str | None = None
    ciphersuites: str | None = None
    client_sigalgs: str | None = None
    crl_file: str | None = None
    curves: str | None = None
    no_ca_names: bool = False
    sigalgs: str | None = None
    verify: Verify = Verify.NONE
    versions: TlsVersions = TlsVersions()

    @property
    def authority_files(self) -> tuple[tuple[str, str], ...]:
        """What client certificates are verified with: the options that name files of CAs, and the files."""
        named = (("ca-file", self.ca_file), ("ca-verify-file", self.ca_verify_file))
        return tuple((option, path) for option, path in named if path is not None)

    def overlaid(self, options: PolicyOptions) -> BindPolicy:
        """This policy with what a crt-list line writes in the place of what it inherits."""
        if not options:
            return self
        fields = dict(options)
        lowest, highest = fields.pop("lowest", self.versions.lowest), fields.pop("highest", self.versions.highest)
        return replace(self, versions=TlsVersions(lowest, highest, self.versions.excluded_behind(options)), **fields)


#: Options of a crt-list line: names of fields of `BindPolicy`, or `lowest` and `highest` of its versions, with their values.
PolicyOptions = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class BindTls:
    """The `ssl` options of a bind line (5.1), `ssl-default-bind-*` merged in.

    Attributes:
        certificates: what `crt`, `default-crt` and `crt-list` name, in order, and behind them the frontend's `ssl-f-use`.
        policy: what holds for all its certificates that say nothing else.
        ca_ignore_err, crt_ignore_err: verification errors of client certificates that are passed over.
        generate: `generate-certificates` with its CA, None without.
        ticket_keys: the file of `tls-ticket-keys`, None without.
        places: of the options, see `WrittenOptions`.
        twice: options that leave a TLS version out and stand on the line and in the global section.
    """

    certificates: tuple[CertificateLine | CrtList, ...]
    policy: BindPolicy = BindPolicy()
    strict_sni: bool = False
    tickets: bool = True
    prefer_client_ciphers: bool = False
    ca_ignore_err: IgnoredErrors = NOTHING_IGNORED
    crt_ignore_err: IgnoredErrors = NOTHING_IGNORED
    generate: GenerateCertificates | None = None
    ticket_keys: NamedFile | None = None
    location: Location | None = None
    places: Mapping[str, Location] = field(default_factory=dict, compare=False, repr=False)
    twice: frozenset[str] = field(default_factory=frozenset, compare=False, repr=False)

    @property
    def written(self) -> WrittenOptions:
        """Where its options stand."""
        return WrittenOptions(self.location, self.places)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file or directory that a keyword names, `tls-ticket-keys` for instance, and where it was written."""

    path: str
    location: Location


@dataclass(frozen=True, slots=True)
class LoadFiles:
    """Files that belong to a certificate (12.7.1), made absolute, and whether its OCSP response is kept up to date."""

    key: str | None = None
    ocsp: str | None = None
    issuer: str | None = None
    sctl: str | None = None
    ocsp_update: bool | None = None


@dataclass(frozen=True, slots=True)
class Protocols:
    """ALPN protocols to offer, and where they were written."""

    names: tuple[str, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Provider:
    """`ssl-provider`: a provider of OpenSSL's algorithms; `path` is where modules are looked for, None: where OpenSSL looks."""

    name: str
    path: str | None
    location: Location


@dataclass(frozen=True, slots=True)
class PropertyQuery:
    """`ssl-propquery`: which algorithms are taken, in OpenSSL's language (property(7))."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class DummyKey:
    """`generate-dummy on` of a crt-store: the key of a certificate that is made, not read (12.7.1).

    Attributes:
        key_type: RSA or ECDSA.
        bits: of an RSA key.
        curve: of an ECDSA key.
    """

    key_type: str = "RSA"
    bits: int = 2048
    curve: str = "P-384"


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A certificate or a directory of them, and where it was written.

    Attributes:
        path: its name in the storage: the path, made absolute with `crt-base`, or what a crt-store calls it (`@web/site`).
        files: what a crt-list line, `ssl-f-use` or `load` says about further files.
        source: the file to read, "" where that is `path`.
        detect: further files are looked for beside it (`ssl-load-extra-files`); not those of a crt-store (12.7).
        dummy: it is made, and no file is read.
    """

    path: str
    location: Location
    files: LoadFiles = LoadFiles()
    source: str = ""
    detect: bool = True
    dummy: DummyKey | None = None


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One use of a certificate: `crt`, `default-crt`, a line of a crt-list, or `ssl-f-use`.

    Attributes:
        file: what is used; a directory only behind `crt` and `default-crt`.
        filters: server names that it answers to in the place of those in the certificate; `*.example.org` and `!not.example.org`.
        is_default: `default-crt`, or the filter `*`: answers also when nothing else does.
        options: what it says otherwise than the bind line.
        written: those options as they were written, for `show ssl crt-list`.
        line: number of the line in the crt-list, 0 elsewhere.
        location: where it is used; `file.location` is where a crt-store loads it.
        places: of the options, see `WrittenOptions`.
    """

    file: CertificateFile
    filters: tuple[str, ...] = ()
    is_default: bool = False
    options: PolicyOptions = ()
    written: str = ""
    line: int = 0
    location: Location | None = None
    places: Mapping[str, Location] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CrtList:
    """A list of certificates with a name, as the runtime API shows and changes it: a `crt-list` file, or an `ssl-f-use` one.

    Attributes:
        name: of the file, or `@frontend`.
        lines: in order.
        location: where it was named.
    """

    name: str
    lines: tuple[CertificateLine, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class GenerateCertificates:
    """`generate-certificates`: a certificate is made for each unknown name. `ca_sign_pass` decrypts the key in `ca_sign_file`."""

    ca_sign_file: str
    ca_sign_pass: str | None = field(default=None, repr=False)
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The `ssl` options of a server line (5.2), `ssl-default-server-*` merged in.

    `allow_0rtt`: early data may be sent. `renegotiate`: follow when a server asks for it, up to TLS 1.2. `places`: of the
    options, see `WrittenOptions`.
    """

    verify: Verify = Verify.REQUIRED
    ca_file: str | None = None
    crl_file: str | None = None
    verify_host: str | None = None
    sni: SampleExpression | None = None
    certificate: CertificateFile | None = None
    versions: TlsVersions = TlsVersions()
    ciphers: str | None = None
    ciphersuites: str | None = None
    curves: str | None = None
    sigalgs: str | None = None
    client_sigalgs: str | None = None
    alpn: tuple[str, ...] = ()
    allow_0rtt: bool = False
    reuse: bool = True
    tickets: bool = True
    renegotiate: bool = True
    location: Location | None = None
    places: Mapping[str, Location] = field(default_factory=dict, compare=False, repr=False)

    @property
    def written(self) -> WrittenOptions:
        """Where its options stand."""
        return WrittenOptions(self.location, self.places)
