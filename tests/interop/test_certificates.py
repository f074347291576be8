"""Which certificate answers to which name: the same expectations for headgate and for HAProxy."""

from __future__ import annotations

import pathlib
import socket
import ssl

import pytest
from cryptography import x509

from headgate.tls.authority import issue, make_authority
from tests.interop.conftest import StartProxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Certificates by name; the common name of each is that of its file."""
    folder = tmp_path_factory.mktemp("certificates")
    root = make_authority("Interop Root")
    first, second = make_authority("Interop One", parent=root), make_authority("Interop Two", parent=root)
    (folder / "ca.pem").write_bytes(root.certificate_pem)
    for name in ("default", "wild", "other", "exact", "late"):
        (folder / f"{name}.pem").write_bytes(issue(first, [name]).pem)
    for name in ("rsa", "rsa2"):
        (folder / f"{name}.pem").write_bytes(issue(second, [name], key="rsa").pem)
    (folder / "client.pem").write_bytes(issue(root, ["alice"], client=True).pem)
    many = folder / "many"
    many.mkdir()
    members = {"b": ["b", "shared.example", "*.star.example"], "a": ["a", "shared.example"], "c": ["c", "x.star.example"]}
    for file, names in members.items():
        (many / f"{file}.pem").write_bytes(issue(first, names).pem)
    (many / "c.pem.key").write_bytes(b"not a key, and not looked at")
    return folder


def context(folder: pathlib.Path, *, ciphers: str = "", newest: bool = True, certificate: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    made.check_hostname = False
    if not newest:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if ciphers:
        made.set_ciphers(ciphers)
    if certificate:
        made.load_cert_chain(folder / certificate)
    return made


def shown(port: int, name: str | None, client: ssl.SSLContext) -> str:
    """The common name of the certificate that a name is answered with, or the alert."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as sock, client.wrap_socket(sock, server_hostname=name) as tls:
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            tls.recv(100)  # a refused client certificate shows here in TLS 1.3
            found = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    except ssl.SSLError as error:
        return str(error.reason)
    return str(found.subject.rfc4514_string().removeprefix("CN="))


CONFIG = """
frontend www
    bind 127.0.0.1:{{port}} ssl {options}
    http-request return status 200
"""


def write_list(folder: pathlib.Path, subject: str, lines: str) -> None:
    (folder / f"{subject}.list").write_text("".join(f"{folder}/{line}\n" for line in lines.strip().split("\n")))


def asked(proxy: StartProxy, subject: str, folder: pathlib.Path, options: str, lines: str, *names: str | None) -> list[str]:
    """What a bind line with a crt-list of these lines answers to these names."""
    write_list(folder, subject, lines)
    started = proxy(CONFIG.format(options=f"crt-list {folder}/{subject}.list {options}"), subject=subject)
    return [shown(started.port, name, context(folder)) for name in names]


def test_filters(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    lines = """
default.pem
wild.pem *.domain.tld !secure.domain.tld !Safe.domain.tld
exact.pem deep.domain.tld Other.Example
"""
    names = ("a.domain.tld", "A.Domain.TLD", "secure.domain.tld", "safe.domain.tld", "deep.domain.tld", "other.example")
    found = asked(proxy, subject, folder, "", lines, *names, "x.y.domain.tld", "domain.tld", "wild", "default", "else", None)
    assert found == [
        "wild", "wild", "default", "default", "exact", "exact", "default", "default", "default", "default", "default", "default",
    ]  # fmt: skip


def test_what_one_line_excludes_another_may_serve(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    lines = """
default.pem
wild.pem *.domain.tld !secure.domain.tld
other.pem *.domain.tld
late.pem *.domain.tld
exact.pem secure.domain.tld.example
"""
    found = asked(proxy, subject, folder, "", lines, "a.domain.tld", "secure.domain.tld")
    assert found == ["wild", "other"]


def test_first_line_wins(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    lines = """
default.pem
exact.pem a.example
other.pem a.example b.example
"""
    assert asked(proxy, subject, folder, "", lines, "a.example", "b.example") == ["exact", "other"]


def test_strict_sni(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    found = asked(proxy, subject, folder, "strict-sni", "exact.pem a.example\n", "a.example", "b.example", None)
    assert found[0] == "exact" and "exact" not in found[1:]


def test_kinds_of_keys_by_ability(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    """Certificates of one name with different chains: whoever can use only one gets that one, with its own chain."""
    lines = """
default.pem
rsa.pem a.example *.w.example
exact.pem a.example
wild.pem b.w.example
rsa2.pem c.v.example
late.pem *.v.example
"""
    write_list(folder, subject, lines)
    started = proxy(CONFIG.format(options=f"crt-list {folder}/{subject}.list"), subject=subject)
    clients = (
        context(folder, ciphers="aRSA", newest=False), context(folder, ciphers="aECDSA", newest=False),
        context(folder, newest=False), context(folder),
    )
    found = {name: [shown(started.port, name, one) for one in clients] for name in ("a.example", "b.w.example", "c.v.example")}
    assert found == {
        "a.example": ["rsa", "exact", "exact", "exact"],
        # Of each kind the nearest one: an exact name of one kind, a wildcard of the other.
        "b.w.example": ["rsa", "wild", "wild", "wild"],
        "c.v.example": ["rsa2", "late", "late", "late"],
    }


def test_directory(proxy: StartProxy, subject: str, folder: pathlib.Path) -> None:
    started = proxy(CONFIG.format(options=f"crt {folder}/many"), subject=subject)
    names = ("a", "b", "c", "shared.example", "x.star.example", "y.star.example", "else")
    assert [shown(started.port, name, context(folder)) for name in names] == ["a", "b", "c", "a", "c", "b", "a"]


@pytest.mark.parametrize("newest", [True, False], ids=["1.3", "1.2"])
def test_client_certificates_by_name(proxy: StartProxy, subject: str, folder: pathlib.Path, newest: bool) -> None:
    lines = f"""
default.pem
exact.pem [verify required ca-file {folder}/ca.pem] a.example
"""
    write_list(folder, subject, lines)
    started = proxy(CONFIG.format(options=f"crt-list {folder}/{subject}.list"), subject=subject)
    nobody, alice = context(folder, newest=newest), context(folder, newest=newest, certificate="client.pem")
    assert shown(started.port, "b.example", nobody) == "default"
    assert shown(started.port, "a.example", alice) == "exact"
    assert shown(started.port, "a.example", nobody) not in ("exact", "default")
