"""Every field about TLS that a log line can hold: headgate and HAProxy with the same formats, over the same handshakes.

Fields that are new in each connection are compared with what the client knows. Where both differ on purpose, `DIFFERENT` says so.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import pathlib
import re
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from headgate.tls.authority import Authority, issue, make_authority
from tests.interop.backends import Backend, LogReceiver, read_response
from tests.interop.conftest import StartProxy
from tests.interop.programs import free_ports, start_subject

pytestmark = pytest.mark.needs("haproxy")

TLS_1_1, TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

#: Not in HAProxy 2.6: that they are there is enough.
NEWER = """
    ssl_fc_curve ssl_fc_crtname ssl_c_r_dn ssl_c_san ssl_c_policies ssl_fc_sigalgs_bin,hex ssl_fc_supported_versions_bin,hex
    fc_err_name ssl_fc_ja3 ssl_fc_ja4 ssl_fc_cause ssl_fc_early_rcvd ssl_fc_hsk_err ssl_fc_hsk_err_str
""".split()
#: In HAProxy 2.6 and in headgate.
FIELDS = """
    fc_err fc_err_str ssl_fc_err ssl_fc_err,hex ssl_fc_err_str ssl_c_err ssl_c_ca_err ssl_c_ca_err_depth ssl_c_verify ssl_c_used
    ssl_fc ssl_fc_has_crt ssl_fc_has_sni ssl_fc_sni ssl_fc_is_resumed ssl_fc_protocol ssl_fc_cipher ssl_fc_alg_keysize
    ssl_fc_use_keysize ssl_fc_alpn ssl_fc_npn ssl_fc_protocol_hello_id ssl_fc_cipherlist_bin,hex ssl_fc_cipherlist_bin(1),hex
    ssl_fc_cipherlist_hex ssl_fc_cipherlist_str ssl_fc_cipherlist_xxh ssl_fc_extlist_bin,hex ssl_fc_extlist_bin(1),hex
    ssl_fc_eclist_bin,hex ssl_fc_ecformats_bin,hex ssl_c_chain_der,hex ssl_c_der,hex ssl_c_i_dn ssl_c_s_dn ssl_c_s_dn(CN)
    ssl_c_s_dn(CN,-1) ssl_c_s_dn(,0,rfc2253) ssl_c_key_alg ssl_c_notafter ssl_c_notbefore ssl_c_serial,hex ssl_c_sha1,hex
    ssl_c_sig_alg ssl_c_version ssl_f_i_dn ssl_f_s_dn ssl_f_key_alg ssl_f_notafter ssl_f_notbefore ssl_f_serial,hex ssl_f_sha1,hex
    ssl_f_sig_alg ssl_f_version ssl_f_der,hex ssl_fc_has_early
""".split()
#: Different in each connection.
UNIQUE = (
    "ssl_fc_client_random,hex", "ssl_fc_server_random,hex", "ssl_fc_session_id,hex", "ssl_fc_session_key,hex",
    "ssl_fc_unique_id,base64",
)
ALIASES = ("ft", "sslv", "sslc", "tsc")

_NAME = ["ssl_fc_sni", "ssl_fc_has_sni"]
_VERSION = ["ssl_fc_protocol", "sslv"]
_RANDOM = ["ssl_fc_client_random,hex", "ssl_fc_server_random,hex"]
_OWN = [name for name in FIELDS if name.startswith("ssl_f_")]
#: By scenario: fields in which headgate says more, or nothing where HAProxy says what is not so (a version before there is one, a
#: certificate that was never shown, random bytes that are all zero).
DIFFERENT: dict[str, list[str]] = {
    "TLS 1.1 only": [*_NAME, *_RANDOM, *_OWN, "ssl_fc_extlist_bin,hex", "ssl_fc_extlist_bin(1),hex"],  # 2.6 loses the last one
    "no certificate for the name": ["ssl_fc_has_sni", *_VERSION, *_RANDOM],
    "plain HTTP": [*_VERSION, *_RANDOM],
    "no TLS": [*_VERSION, *_RANDOM],
    "closed at once": [*_VERSION, *_RANDOM],
}
#: HAProxy drops an alert when it sees the end of the connection behind it, in about half of all cases.
LOST = {
    scenario: {"ssl_fc_err", "ssl_fc_err,hex", "ssl_fc_err_str"}
    for scenario in ("client does not trust us, TLS 1.2", "client does not trust us, TLS 1.3")
}


@dataclass
class Visitor:
    """A client of one kind.

    Attributes:
        certificate: file of its certificate; trusts: of the CA that it accepts.
        raw: what it sends in place of TLS.
        again: connects a second time, resuming the session; that is the connection to look at.
    """

    version: ssl.TLSVersion | None = None
    certificate: str | None = None
    trusts: str = "ca.pem"
    alpn: tuple[str, ...] = ()
    ciphers: str | None = None
    name: str = "localhost"
    raw: bytes | None = None
    again: bool = False
    line: str = "optional"


VISITORS = {
    "TLS 1.2": Visitor(TLS_1_2),
    "TLS 1.3 with ALPN": Visitor(TLS_1_3, alpn=("http/1.1",)),
    "TLS 1.2 with a certificate": Visitor(TLS_1_2, "client.pem"),
    "TLS 1.3 with a certificate": Visitor(TLS_1_3, "client.pem", line="required"),
    "TLS 1.2 resumed": Visitor(TLS_1_2, again=True),
    "TLS 1.3 resumed": Visitor(TLS_1_3, again=True),
    "TLS 1.2 resumed with a certificate": Visitor(TLS_1_2, "client.pem", again=True),
    "TLS 1.3 resumed with a certificate": Visitor(TLS_1_3, "client.pem", again=True),
    "unknown CA": Visitor(TLS_1_2, "stranger.pem"),
    "expired": Visitor(TLS_1_3, "expired.pem"),
    "expired CA": Visitor(TLS_1_2, "late.pem"),
    "no certificate": Visitor(TLS_1_3, line="required"),
    "no common cipher": Visitor(TLS_1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
    "client does not trust us, TLS 1.2": Visitor(TLS_1_2, trusts="stranger-ca.pem"),
    "client does not trust us, TLS 1.3": Visitor(TLS_1_3, trusts="stranger-ca.pem"),
    "TLS 1.1 only": Visitor(TLS_1_1, ciphers="DEFAULT@SECLEVEL=0"),
    "no certificate for the name": Visitor(TLS_1_2, name="other.example", line="required"),
    "plain HTTP": Visitor(raw=b"GET / HTTP/1.0\r\n\r\n"),
    "no TLS": Visitor(raw=b"\0\1\2\3 nothing that anybody knows"),
    "closed at once": Visitor(raw=b""),
}


@dataclass
class Known:
    """What the client saw of the connection that is looked at."""

    unique_id: bytes | None = None
    session_id: str = ""
    resumed: bool | None = None
    error: str = ""
    local: int = 0


def _later(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Certificates: of a site, and of clients that are fine, of a stranger's CA, expired, and below an expired CA."""
    made = tmp_path_factory.mktemp("fields")
    root = make_authority("Fields Root")
    middle = make_authority("Fields Intermediate", parent=root)
    late = make_authority("Fields Late", parent=root, not_before=_later(-9), not_after=_later(-1))
    stranger = make_authority("Fields Stranger")

    def leaf(name: str, authority: Authority, **options: object) -> None:
        (made / f"{name}.pem").write_bytes(issue(authority, [name], client=True, **options).pem)  # type: ignore[arg-type]

    (made / "ca.pem").write_bytes(root.certificate_pem)
    (made / "stranger-ca.pem").write_bytes(stranger.certificate_pem)
    (made / "site.pem").write_bytes(issue(middle, ["localhost", "site.example"], key="rsa").pem)
    leaf("client", middle)
    leaf("stranger", stranger)
    leaf("expired", middle, not_before=_later(-9), not_after=_later(-1))
    leaf("late", late)
    return made


CONFIG = """
global
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.capture-buffer-size 512
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    log 127.0.0.1:{logs} len 65000 local0
    log-format "ok {format}"
    error-log-format "failed {format}"
frontend optional
    bind 127.0.0.1:{optional} ssl crt {directory}/site.pem ca-file {directory}/ca.pem verify optional alpn http/1.1
    http-request return status 200
frontend required
    bind 127.0.0.1:{required} ssl crt {directory}/site.pem ca-file {directory}/ca.pem verify required strict-sni
    http-request return status 200
"""


class Subject:
    """A program with the formats, and what it logs."""

    def __init__(self, name: str, directory: pathlib.Path, stack: contextlib.ExitStack) -> None:
        self.logs = LogReceiver()
        stack.callback(self.logs.close)
        optional, required = free_ports(2)
        self.ports = {"optional": optional, "required": required}
        fields = [*FIELDS, *UNIQUE, *(NEWER if name == "headgate" else ())]
        shown = "|".join([f"{one}=%[{one}]" for one in fields] + [f"{one}=%{one}" for one in ALIASES])
        config = CONFIG.format(
            logs=self.logs.port, directory=directory, format=f"|client=%cp,%fp|{shown}|", **self.ports,
        )
        stack.callback(start_subject(name, config, directory, self.ports.values()).stop)

    def fields(self, local: int, port: int) -> tuple[str, dict[str, str]]:
        """`ok` or `failed`, and all fields, of the connection between these ports."""
        head, *pairs, _ = self.logs.line(f"|client={local},{port}|").split("|")
        return head.split()[-1], dict(pair.split("=", 1) for pair in pairs[1:])


@pytest.fixture(scope="module")
def subjects(directory: pathlib.Path) -> Iterator[dict[str, Subject]]:
    with contextlib.ExitStack() as stack:
        yield {name: Subject(name, directory, stack) for name in ("headgate", "haproxy")}


def visit(visitor: Visitor, port: int, directory: pathlib.Path) -> Known:
    """Connect as this kind of client does, ask for a page, close in order."""
    known = Known()
    if visitor.raw is not None:
        with socket.create_connection(("127.0.0.1", port), 20) as plain:
            known.local = plain.getsockname()[1]
            plain.sendall(visitor.raw)
            if not visitor.raw:
                plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
        return known
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what we want
        context = ssl.create_default_context(cafile=str(directory / visitor.trusts))
        if visitor.version is not None:
            context.minimum_version = context.maximum_version = visitor.version
    if visitor.ciphers is not None:
        context.set_ciphers(visitor.ciphers)
    if visitor.certificate is not None:
        context.load_cert_chain(directory / visitor.certificate)
    if visitor.alpn:
        context.set_alpn_protocols(list(visitor.alpn))
    session = None
    for _ in range(2 if visitor.again else 1):
        known = Known()
        with socket.create_connection(("127.0.0.1", port), 20) as plain:
            known.local = plain.getsockname()[1]
            try:
                with context.wrap_socket(plain, server_hostname=visitor.name, session=session) as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    while secure.recv(4096):
                        pass
                    known.unique_id = secure.get_channel_binding("tls-unique")
                    session = secure.session
                    known.session_id = session.id.hex().upper() if session is not None else ""
                    known.resumed = secure.session_reused
            except ssl.SSLError as error:
                known.error = str(error)
    return known


@pytest.mark.parametrize("scenario", VISITORS)
def test_the_same_fields(scenario: str, subjects: dict[str, Subject], directory: pathlib.Path) -> None:
    visitor = VISITORS[scenario]
    seen = {}
    for name, subject in subjects.items():
        port = subject.ports[visitor.line]
        known = visit(visitor, port, directory)
        kind, fields = subject.fields(known.local, port)
        assert (kind == "failed") is (fields["fc_err"] != "0")
        _check_unique(known, fields)
        seen[name] = fields | {"kind": kind}
    allowed = {*UNIQUE, *DIFFERENT.get(scenario, ()), *LOST.get(scenario, ())}
    ours, theirs = seen["headgate"], seen["haproxy"]
    assert ours.keys() - theirs.keys() == set(NEWER)
    assert {key: (ours[key], value) for key, value in theirs.items() if value != ours[key] and key not in allowed} == {}
    # What differs on purpose differs: a row that is no longer needed must go.
    same = [key for key in DIFFERENT.get(scenario, ()) if ours[key] == theirs[key]]
    assert same == []


def _check_unique(known: Known, fields: dict[str, str]) -> None:
    """Fields that are new in each connection, against what the client knows of it."""
    if known.unique_id is None:
        for name in ("ssl_fc_session_id,hex", "ssl_fc_session_key,hex", "ssl_fc_unique_id,base64"):
            assert fields[name] == "-", name
        return
    assert fields["ssl_fc_unique_id,base64"] == base64.b64encode(known.unique_id).decode()
    assert fields["ssl_fc_is_resumed"] == str(int(bool(known.resumed)))
    assert len(fields["ssl_fc_session_key,hex"]) == 96
    assert len(fields["ssl_fc_client_random,hex"]) == len(fields["ssl_fc_server_random,hex"]) == 64
    if fields["ssl_fc_protocol"] == "TLSv1.2" and known.resumed:
        assert fields["ssl_fc_session_id,hex"] == known.session_id


# --- the server's side, and what only headgate has -------------------------------------------------------------------

SERVER_FIELDS = (
    "bc_err", "bc_err_str", "ssl_bc", "ssl_bc_alg_keysize", "ssl_bc_use_keysize", "ssl_bc_alpn", "ssl_bc_cipher",
    "ssl_bc_protocol", "ssl_bc_is_resumed", "ssl_bc_err", "ssl_bc_err_str", "ssl_s_chain_der,hex", "ssl_s_der,hex",
    "ssl_s_i_dn", "ssl_s_s_dn", "ssl_s_s_dn(CN)", "ssl_s_key_alg", "ssl_s_notafter", "ssl_s_notbefore",
    "ssl_s_serial,hex", "ssl_s_sha1,hex", "ssl_s_sig_alg", "ssl_s_version",
)  # fmt: skip

SERVERS = """
frontend web
    bind 127.0.0.1:{{port}}
    log 127.0.0.1:{logs} len 65000 local0
    log-format "{format}"
    use_backend %[path,regsub(/,)]
backend old
    default-server ssl ca-file {directory}/ca.pem verify required sni str(localhost)
    server one 127.0.0.1:{server} ssl-max-ver TLSv1.2 alpn http/1.1
backend new
    default-server ssl ca-file {directory}/ca.pem verify required sni str(localhost)
    server one 127.0.0.1:{server} ssl-min-ver TLSv1.3
backend stranger
    retries 0
    server one 127.0.0.1:{server} ssl ca-file {directory}/stranger-ca.pem verify required sni str(localhost)
backend othername
    retries 0
    server one 127.0.0.1:{server} ssl ca-file {directory}/ca.pem verify required sni str(other.example)
backend plain
    server one 127.0.0.1:{plain}
"""


def test_the_server_side(
    directory: pathlib.Path, proxy: StartProxy, backend: Callable[..., Backend], logs: LogReceiver, stack: contextlib.ExitStack
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "site.pem")
    context.set_alpn_protocols(["http/1.1"])
    text = SERVERS.format(
        logs=logs.port, directory=directory, server=backend(tls=context).port, plain=backend().port,
        format="|".join(["%HP by %H.", *(f"{one}=%[{one}]" for one in SERVER_FIELDS)]),
    )
    seen: dict[str, dict[str, str]] = {}
    for subject in ("headgate", "haproxy"):
        with contextlib.ExitStack() as running:
            started = proxy(text, subject=subject)
            running.callback(started.program.stop)
            for target in ("old", "new", "stranger", "othername", "plain"):
                client = started.connect()
                client.send(f"GET /{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                read_response(client)
                line = logs.line(f"/{target} by")
                seen[f"{subject} {target}"] = dict(one.split("=", 1) for one in line.split("|")[1:])
            logs.lines.clear()
    for target in ("old", "new", "stranger", "othername", "plain"):
        assert seen[f"headgate {target}"] == seen[f"haproxy {target}"], target


def test_cause_and_advice_in_the_error_log(directory: pathlib.Path, proxy: StartProxy, logs: LogReceiver) -> None:
    """What HAProxy's fields do not say: why, what to change, and who that was."""
    started = proxy(f"""
frontend web
    bind 127.0.0.1:{{port}} ssl crt {directory}/site.pem
    log 127.0.0.1:{logs.port} len 4096 local0
    log-format "succeeded %[ssl_fc_cause] %[ssl_fc_advice]"
    error-log-format "failed %[ssl_fc_cause] %[ssl_fc_ja4] %[ssl_fc_sni] %{{+Q}}[ssl_fc_advice]"
    http-request return status 200
""")
    visit(VISITORS["no common cipher"], started.port, directory)
    line = logs.line("failed")
    assert re.search(r'failed no-common-cipher t12d\d{4}00_[0-9a-f]{12}_[0-9a-f]{12} localhost "[^"]*ciphers[^"]*"$', line)
    visit(VISITORS["plain HTTP"], started.port, directory)
    assert re.search(r'failed plain-http - - "[^"]+"$', logs.line("plain-http"))
    visit(VISITORS["TLS 1.3 with ALPN"], started.port, directory)
    assert logs.line("succeeded").endswith("succeeded - -")


def test_the_group_after_the_quantum_in_logs(
    directory: pathlib.Path, proxy: StartProxy, logs: LogReceiver
) -> None:
    """headgate speaks to itself: by default with the hybrid group, and a `curves` line decides otherwise."""
    inner, classic = free_ports(2)
    started = proxy(
        f"""
frontend outer
    bind 127.0.0.1:{{port}}
    log 127.0.0.1:{logs.port} local0
    log-format "%HP outer %[ssl_bc_curve] %[ssl_bc_protocol]"
    use_backend %[path,regsub(/,)]
frontend inner
    bind 127.0.0.1:{inner} ssl crt {directory}/site.pem
    bind 127.0.0.1:{classic} ssl crt {directory}/site.pem curves P-256
    log 127.0.0.1:{logs.port} local0
    log-format "%HP inner %[ssl_fc_curve] %[ssl_fc_crtname] %[ssl_fc_ja4] %[ssl_fc_ja3] %[ssl_fc_eclist_bin(1),be2dec(-,2)]"
    http-request return status 200
backend hybrid
    server one 127.0.0.1:{inner} ssl ca-file {directory}/ca.pem verifyhost localhost sni str(localhost)
backend classic
    server one 127.0.0.1:{classic} ssl ca-file {directory}/ca.pem verifyhost localhost sni str(localhost)
""",
        extra_ports=(inner, classic),
    )
    fingerprints = set()
    for target, group in (("hybrid", "X25519MLKEM768"), ("classic", "secp256r1")):
        client = started.connect()
        client.send(f"GET /{target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert read_response(client).status == 200
        assert f"/{target} outer {group} TLSv1.3" in logs.line(f"/{target} outer")
        words = logs.line(f"/{target} inner").partition(" inner ")[2].split()
        assert words[:2] == [group, f"{directory}/site.pem"]
        assert re.fullmatch(r"t13d\d{4}(00|h1)_[0-9a-f]{12}_[0-9a-f]{12}", words[2])
        assert re.fullmatch(r"[0-9a-f]{32}", words[3])
        assert words[4].startswith("4588-")
        fingerprints.add(tuple(words[2:4]))
    assert len(fingerprints) == 1, "the same program has the same fingerprints"
