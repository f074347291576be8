"""Bind and server lines: their certificates, CAs, versions and ciphers, and the names that rules expect them to serve.

The one way in: `app.findings` hands over what has been built. Nothing is read twice but the CAs and certificates of server lines.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from cryptography import x509

from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.base.findings import Findings
from headgate.config.lint_rules import asked_names
from headgate.config.model import Config, Proxy
from headgate.config.option_places import OptionPlaces
from headgate.config.tls_options import BindPolicy, BindTls, ServerTls, TlsVersions, Verify
from headgate.plan.samples import parse_address
from headgate.tls.line_facts import security_level
from headgate.tls.lint.algorithms import unknown_algorithms
from headgate.tls.lint.certificates import CertificateLint, is_authority
from headgate.tls.lint.chains import ChainLint
from headgate.tls.lint.client_authorities import forgives, lint_missing_lists, lint_roots
from headgate.tls.lint.names import lint_defaults, lint_filters, lint_rivals
from headgate.tls.lint.unreachable import Key, lint_unreachable
from headgate.tls.lint.versions import lint_versions
from headgate.tls.pem import read_authorities, read_certificates
from headgate.tls.policy import SYSTEM_CA, enabled_versions
from headgate.tls.server_context import BindContext
from headgate.tls.storage import Storage
from headgate.tls.store import Served

_OLD = frozenset({"SSLv3", "TLSv1.0", "TLSv1.1"})


def lint_tls(config: Config, contexts: Mapping[int, BindContext], findings: Findings, now: datetime.datetime) -> None:
    """Look at all TLS of a configuration.

    Args:
        config: resolved.
        contexts: of the bind lines, by id() of the Bind.
        findings: where it says what it found.
        now: the time, aware of its zone.
    """
    lint = _TlsLint(config, findings, now)
    lint.bind_lines(dict.fromkeys(contexts.values()))
    for proxy in config.proxies:
        if proxy.disabled:
            continue
        for server in proxy.servers:
            if server.tls is not None:
                lint.server_line("server", server.name, server.location, server.tls)
        lint.names(proxy, contexts)
    for section in config.resolvers.values():
        for one in section.name_servers:
            if one.tls is not None:
                lint.server_line("name server", one.name, one.tls.location, one.tls)


class _TlsLint:
    """What is known while the lines are looked at."""

    def __init__(self, config: Config, findings: Findings, now: datetime.datetime) -> None:
        self.findings = findings
        self.now = now
        self.places = OptionPlaces(config)
        self.updates = self.places.is_on("ocsp-update.mode")  # where a certificate says nothing else
        self.certificates = CertificateLint(findings, now)
        self.chains = ChainLint(findings)
        self.authorities: dict[str, tuple[x509.Certificate, ...]] = {}
        self.presented: dict[str, tuple[x509.Certificate, ...]] = {}

    # --- bind lines ---

    def bind_lines(self, contexts: Iterable[BindContext]) -> None:
        contexts = list(contexts)
        for context in contexts:
            # What any line knows of CAs helps to judge all chains.
            for path, entry in context.storage.authorities.items():
                self.authorities[path] = entry.contents
                self.chains.know(entry.contents, path)
            for path, ticket_keys in context.storage.ticket_keys.items():
                self.certificates.ticket_keys(path, ticket_keys.location)
        seen: set[bytes] = set()
        for context in contexts:
            superseded = lint_rivals(context.store, self.findings, self.now.timestamp())
            if not context.tls.strict_sni:
                lint_defaults(context.store, self.findings)
            for one in context.store.served:
                if one.entry.contents.leaf not in seen and one not in superseded:
                    seen.add(one.entry.contents.leaf)
                    self._certificate(one)
            told: set[tuple[TlsVersions, str | None]] = set()  # what a line of a list has from the bind line is said of that one
            for policy, (location, keys) in _policies(context).items():
                if (policy.versions, policy.ciphers) not in told:
                    told.add((policy.versions, policy.ciphers))
                    lint_versions(policy.versions, policy.ciphers, location, self.places, self.findings)
                self._policy(policy, context.tls, location, keys, context.storage)
            lint_filters(context.store, self.findings)

    def _certificate(self, one: Served) -> None:
        contents, location, files = one.entry.contents, one.line.file.location, one.entry.file.files
        certificate = contents.certificate
        updated = self.updates if files.ocsp_update is None else files.ocsp_update
        self.certificates.site(contents, certificate, location, key=files.key, updated=updated)
        self.chains.site(contents, certificate, location)

    def _policy(
        self, policy: BindPolicy, tls: BindTls, location: Location | None, keys: set[Key], storage: Storage
    ) -> None:
        """What a bind line, or a line of a crt-list, says to its clients; `keys` are those of its certificates."""
        unknown_algorithms(policy.ciphers, policy.ciphersuites, location, self.places, self.findings)
        if policy.verify is not Verify.NONE:
            self._client_authorities(policy, tls, location, storage)
        versions = enabled_versions(policy.versions)
        if versions and _OLD.issuperset(versions):
            self.findings.add(
                "tls-old-versions",
                f"only {' and '.join(versions)} may be spoken here: clients of today speak TLS 1.2 and up, and can't connect",
                self.places.find(location, "ssl-max-ver", policy.versions.highest or ""),
                remedy="write 'ssl-max-ver TLSv1.3', or take the limit out",
            )
        lint_unreachable(policy, keys, location, self.places, self.findings)

    def _client_authorities(self, policy: BindPolicy, tls: BindTls, location: Location | None, storage: Storage) -> None:
        """What client certificates are verified with."""
        files, level = policy.authority_files, security_level(policy.ciphers)
        trusted = [one for _, path in files for one in self._authorities(path, location)]
        for option, path in files:
            place = self.places.find(location, option, path)
            for authority in self._authorities(path, location):
                self.certificates.authority(authority, path, place, "client")
                self.certificates.authority_strength(
                    authority, path, place, "client", level, trusted, partial(forgives, tls)
                )
        if files and all(path != SYSTEM_CA for _, path in files):
            option, path = files[0]
            lint_roots(tls, path, trusted, self.places.find(location, option, path), self.findings)
        entry = storage.revocations.get(policy.crl_file) if policy.crl_file is not None else None
        if entry is not None and policy.crl_file is not None:
            place = self.places.find(location, "crl-file", policy.crl_file)
            for crl in entry.contents:
                self.certificates.revocations(crl, policy.crl_file, place, partial(forgives, tls))
            lint_missing_lists(tls, policy.crl_file, entry.contents, trusted, place, self.findings)

    def _authorities(self, path: str, location: Location | None) -> tuple[x509.Certificate, ...]:
        """The CAs of a file; none for those of the system, which are not the operator's."""
        if path == SYSTEM_CA:
            return ()
        if path not in self.authorities:
            self.authorities[path] = _read(path, location, partial(read_authorities, report=Report()))
        return self.authorities[path]

    def _presented(self, path: str, location: Location | None) -> tuple[x509.Certificate, ...]:
        """The certificates in a file that server lines present; many lines may have the same."""
        if path not in self.presented:
            self.presented[path] = _read(path, location, partial(read_certificates, what="certificate file"))
        return self.presented[path]

    # --- server lines ---

    def server_line(self, kind: str, server: str, line: Location | None, tls: ServerTls) -> None:
        unknown_algorithms(tls.ciphers, tls.ciphersuites, line, self.places, self.findings, side="server")
        lint_versions(tls.versions, tls.ciphers, line, self.places, self.findings, side="server")
        if tls.certificate is not None:
            name = tls.certificate.path
            place = self.places.find(line, "crt", name, side="server")
            for one in self._presented(tls.certificate.source or name, tls.location)[:1]:
                self.certificates.client(one, name, place)
        if tls.verify is not Verify.REQUIRED or tls.ca_file is None:
            return
        authorities = self._authorities(tls.ca_file, tls.location)
        place = self.places.find(line, "ca-file", tls.ca_file, side="server")
        level = security_level(tls.ciphers)
        for authority in authorities:
            self.certificates.authority(authority, tls.ca_file, place, "server")
            self.certificates.authority_strength(authority, tls.ca_file, place, "server", level, authorities)
        if tls.sni is None and not tls.verify_host and (tls.ca_file == SYSTEM_CA or any(map(is_authority, authorities))):
            whose = "any public CA" if tls.ca_file == SYSTEM_CA else f"a CA in '{tls.ca_file}'"
            self.findings.add(
                "tls-no-server-name",
                f"the certificate of {kind} '{server}' is verified for no name: whoever has one from {whose} can pose as it",
                self.places.find(line, "verify", "required", side="server"),
                remedy="write 'verifyhost <name>', the name in the server's certificate, or 'sni str(<name>)'",
            )

    # --- names ---

    def names(self, proxy: Proxy, contexts: Mapping[int, BindContext]) -> None:
        """Names in rules that no certificate of the frontend is valid for."""
        built = [contexts[id(bind)] for bind in proxy.binds if id(bind) in contexts]
        if not built or any(context.tls.generate is not None for context in built):
            return
        strict = all(context.tls.strict_sni for context in built)
        for asked in asked_names(proxy):
            name = asked.name
            wire = name.encode("utf-8", "surrogateescape")
            if b"." not in wire or parse_address(wire) is not None or any(context.store.find(wire) for context in built):
                continue
            outcome = "is refused (strict-sni)" if strict else "gets the certificate of another site and refuses it"
            self.findings.add(
                "tls-unserved-name",
                f"no certificate of {proxy.kind.value} '{proxy.name}' is valid for '{name}': who asks for it {outcome}, and "
                "never comes to this rule",
                asked.location, remedy=f"add a certificate for '{name}' to the bind line, or correct the name",
            )


def _policies(context: BindContext) -> dict[BindPolicy, tuple[Location | None, set[Key]]]:
    """The policies of a bind line, with where each was written and the keys of its certificates."""
    found: dict[BindPolicy, tuple[Location | None, set[Key]]] = {context.tls.policy: (context.tls.location, set())}
    for one in context.store.served:
        contents = one.entry.contents
        key = Key(contents.kind, contents.curve, context.offers_dhe(contents))
        found.setdefault(one.policy, (one.line.location or one.line.file.location, set()))[1].add(key)
    return found


def _read(
    path: str, location: Location | None, read: Callable[[str, Location | None], Sequence[x509.Certificate]]
) -> tuple[x509.Certificate, ...]:
    """What a file holds; nothing where it is wrong, which was said when the context was built."""
    try:
        return tuple(read(path, location))
    except ConfigError:
        return ()
