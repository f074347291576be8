"""headgate and HAProxy beside each other, with a frontend for each case of `handshake_cases`: what each of them says about it."""

from __future__ import annotations

import contextlib
import datetime
import json
import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headgate.tls.authority import Authority, Issued, issue, make_authority, revoke
from tests.interop.backends import LogReceiver
from tests.interop.handshake_cases import CASES, Case
from tests.interop.handshake_clients import NAME, Visit, drain
from tests.interop.programs import ProgramFailed, ask_socket, free_ports, start_subject, wait_until

_ATTEMPTS = 4
SUBJECTS = ("headgate", "haproxy")
_DAY = datetime.timedelta(days=1)
#: HAProxy's line as it is without a format, and behind it what more it can say.
_FORMATS = {
    "headgate": "", "haproxy": 'error-log-format "%ci:%cp [%t] %f/tls: %[fc_err_str] | %[ssl_fc_err_str]"',
}  # fmt: skip
#: One thread each: with several, HAProxy may log the last visitor before the one whom it judges.
_DEFAULTS = """
global
    nbthread 1
    stats socket {directory}/{subject}.sock level admin
    log 127.0.0.1:{log} local0
    ca-base {directory}
    crt-base {directory}
defaults
    mode http
    log global
    option httplog
    option dontlognull
    {format}
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""


def write_files(directory: pathlib.Path) -> None:
    """Certificates with each fault, of a CA of our own."""
    now = datetime.datetime.now(datetime.UTC)
    past = {"not_before": now - 100 * _DAY, "not_after": now - 50 * _DAY}
    coming = {"not_before": now + _DAY, "not_after": now + 100 * _DAY}
    root, other, clients = make_authority("Root"), make_authority("Other Root"), make_authority("Clients Root")
    middle = make_authority("Intermediate", parent=root)
    old = make_authority("Old Intermediate", parent=clients, **past)
    stranger = make_authority("Unknown Root")
    own = make_authority("self")
    revoked = issue(clients, ["revoked"], client=True)
    narrow = make_authority("Narrow Root", path_length=0)
    too_deep = make_authority("Too Deep", parent=narrow)
    site = issue(root, [NAME])
    chained = issue(middle, [NAME])
    contents = {
        "ca.pem": root.certificate_pem, "other_ca.pem": other.certificate_pem, "clients.pem": clients.certificate_pem,
        "site.pem": site.pem, "site_rsa.pem": issue(root, [NAME], key="rsa").pem, "chain.pem": chained.pem,
        "no_chain.pem": chained.certificate_pem + chained.key_pem,
        "self_signed.pem": _self_signed(NAME), "expired_site.pem": issue(root, [NAME], **past).pem,
        "early_site.pem": issue(root, [NAME], **coming).pem, "other_name.pem": issue(root, ["other.example"]).pem,
        "client_only.pem": issue(root, [NAME], client=True).pem, "site_crl.pem": revoke(root, site.certificate),
        "more_clients.pem": clients.certificate_pem + stranger.certificate_pem,
        "with_self.pem": clients.certificate_pem + own.certificate_pem,
        "self_signed_client.pem": Issued(own.certificate, own.key).pem, "server.pem": issue(clients, ["not.a.client"]).pem,
        "good.pem": issue(clients, ["good"], client=True).pem,
        "expired.pem": issue(clients, ["expired"], client=True, **past).pem,
        "not_yet.pem": issue(clients, ["not_yet"], client=True, **coming).pem,
        "stranger.pem": issue(stranger, ["stranger"], client=True).pem, "old_ca.pem": issue(old, ["late"], client=True).pem,
        "weak.pem": _weak(clients), "revoked.pem": revoked.pem, "too_deep.pem": issue(too_deep, ["deep"], client=True).pem,
        "crl.pem": revoke(clients, revoked.certificate), "fresh_crl.pem": revoke(clients),
        "old_crl.pem": revoke(clients, last_update=past["not_before"], next_update=past["not_after"]),
        "early_crl.pem": revoke(clients, last_update=coming["not_before"], next_update=coming["not_after"]),
        "forged_crl.pem": _forged(revoke(clients)),
        "other_crl.pem": revoke(other), "both_crls.pem": revoke(other) + revoke(clients),
        "narrow.pem": clients.certificate_pem + narrow.certificate_pem,
    }  # fmt: skip
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def _self_signed(name: str) -> bytes:
    own = make_authority(name)
    return Issued(own.certificate, own.key).pem


def _forged(revocations: bytes) -> bytes:
    """A CRL whose signature is another."""
    spoilt = bytearray(x509.load_pem_x509_crl(revocations).public_bytes(Encoding.DER))
    spoilt[-1] ^= 1
    return x509.load_der_x509_crl(bytes(spoilt)).public_bytes(Encoding.PEM)


def _weak(authority: Authority) -> bytes:
    """A client certificate with an RSA key of 1024 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        authority.certificate.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")]), key.public_key(),
        x509.random_serial_number(), now - _DAY, now + _DAY,
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    return Issued(certificate, key).pem


@dataclass(frozen=True)
class Place:
    """A frontend: its port, and where its bind line is in headgate's configuration."""

    name: str
    port: int
    number: int


class Subject:
    """One program with a frontend for each case."""

    def __init__(
        self, subject: str, directory: pathlib.Path, stack: contextlib.ExitStack, cases: Sequence[Case] = CASES
    ) -> None:
        self.subject = subject
        self.cases = cases
        self.directory = directory
        self.logs = LogReceiver()
        stack.callback(self.logs.close)
        self.places: dict[tuple[str, str, bool], Place] = {}
        for attempt in range(_ATTEMPTS):
            config = self._config()
            ports = [place.port for place in self.places.values()]
            try:
                self.program = start_subject(subject, config, directory, ports)
                break
            except ProgramFailed:
                # So many ports at once: another run on this machine may have taken one meanwhile.
                if attempt == _ATTEMPTS - 1:
                    raise
        stack.callback(self.program.stop)

    def _config(self) -> str:
        """The whole configuration, on ports that are free now."""
        cured = (False,) if self.subject == "haproxy" else (False, True)
        wanted = [
            (case, version, after, line)
            for case in self.cases
            for version in case.versions
            for after in cured
            if (line := case.remedy if after else case.line) is not None
        ]
        values = {"directory": self.directory, "subject": self.subject, "log": self.logs.port, "format": _FORMATS[self.subject]}
        lines = _DEFAULTS.format(**values).split("\n")
        for (case, version, after, line), port in zip(wanted, free_ports(len(wanted)), strict=True):
            name = f"{case.name}{'-' if version else ''}{version}{'-cured' if after else ''}"
            options = self._written(f"crt {line.crt} {line.options}" if line.crt else line.options)
            lines += [f"frontend {name}", f"    bind 127.0.0.1:{port} name tls ssl {options}".rstrip()]
            self.places[case.name, version, after] = Place(name, port, len(lines))
            more = self._written(line.frontend)
            if self.subject == "haproxy":
                more = more.replace("timeout client-hs", "timeout client")
            lines += [f"    {one}" for one in (more, "http-request return status 200 content-type text/plain string ok") if one]
        return "\n".join(lines) + "\n"

    def _written(self, text: str) -> str:
        """A part of the configuration; `{dir}` is the directory of files, for what has no base."""
        return text.replace("{dir}", str(self.directory))

    def visit(self, case: Case, version: str, *, cured: bool = False) -> Visit:
        return Visit(self.places[case.name, version, cured].port, version, self.directory)

    def ask(self, command: str) -> str:
        return ask_socket(self.directory / f"{self.subject}.sock", command)

    def lines(self, name: str) -> list[str]:
        """What was logged about a frontend, without the syslog header."""
        found = [line for line in self.logs.lines if f" {name}/tls" in line]
        return [re.sub(r"^<\d+>.*?: ", "", line) for line in found]


class Scene:
    """Both programs."""

    def __init__(
        self, directory: pathlib.Path, stack: contextlib.ExitStack, subjects: tuple[str, ...] = SUBJECTS,
        cases: Sequence[Case] = CASES,
    ) -> None:
        self.directory = directory
        write_files(directory)
        self.subjects = {one: Subject(one, directory, stack, cases) for one in subjects}
        self.headgate = self.subjects["headgate"]

    def run(self, case: Case, version: str) -> dict[str, Any]:
        """Let the client fail; answers the record."""
        case.client(self.headgate.visit(case, version))
        name = self.headgate.places[case.name, version, False].name
        found: list[dict[str, Any]] = []

        def failed() -> bool:
            command = f"show ssl handshakes json last 1024 frontend {name} cause {case.cause.code}"
            found[:] = json.loads(self.headgate.ask(command))
            return bool(found) or self.total(name, case.cause.code) > 0

        def what_else() -> str:
            return f"{case.cause.code}: {self.headgate.ask(f'show ssl handshakes frontend {name}')}"

        with contextlib.suppress(AssertionError):
            wait_until(failed, "", 5.0)
        assert failed(), what_else()
        return found[0] if found else {}

    def total(self, name: str, cause: str) -> int:
        rows = json.loads(self.headgate.ask("show ssl handshake-counters json"))["counters"]
        return sum(row["total"] for row in rows if row["frontend"] == name and row["cause"] == cause)

    def said(self, subject: str, case: Case, version: str) -> str:
        """What the program says in its log about this failure, behind address, time and frontend; "" for nothing.

        headgate must have been visited with `run` before. HAProxy is visited here.
        """
        program = self.subjects[subject]
        place = program.places[case.name, version, False]
        before = len(program.lines(place.name)) if subject != "headgate" else 0
        if subject != "headgate":
            case.client(program.visit(case, version))
        if before == len(program.lines(place.name)):
            # Nothing, so far. What fails later is logged later, and not as a part of this.
            with Visit(place.port, "", self.directory).connect(HEADER if "accept-proxy" in case.line.options else b"") as last:
                # The last visitor with a PROXY header has its address from there, and no other has that one.
                mark = "192.0.2.1:4000 " if "accept-proxy" in case.line.options else f"127.0.0.1:{last.getsockname()[1]} "
                last.sendall(b"LAST LAST LAST LAST\r\n")
                drain(last)
            wait_until(lambda: any(one.startswith(mark) for one in program.lines(place.name)), f"a line about {place.name}")
            if program.lines(place.name)[before].startswith(mark):
                return ""
        return self.normalised(program.lines(place.name)[before], place)

    def normalised(self, line: str, place: Place) -> str:
        """Without what differs from run to run."""
        _, _, text = line.partition(f"] {place.name}/tls: ")
        text = text.replace(f"{self.directory}/headgate.cfg:{place.number}", "headgate.cfg:14").replace(f"{self.directory}/", "")
        text = re.sub(r"\b20\d\d-\d\d-\d\d\b", "2026-10-01", text)
        text = re.sub(r"\b\d{3,} bytes received", "517 bytes received", text)
        return re.sub(r" \d+ such failures? from \d+ address(es)? in the last hour\.", "", text)


HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n"
