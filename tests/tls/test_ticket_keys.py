"""Files of ticket keys, and OpenSSL told of them: what is read, what is refused, who can read whose tickets."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.bindings import _rust
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Location, Report, Severity, render
from headgate.config.tls_options import NamedFile, ServerTls, Verify
from headgate.tls import unbound
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.client_context import build_server_context
from headgate.tls.openssl import ffi, lib
from headgate.tls.server_context import BindContext, SessionCache
from headgate.tls.session_context import limit_cache
from headgate.tls.storage import Storage
from headgate.tls.ticket_keys import followed_by, read_ticket_keys
from tests.tls.tls_peers import Pki, World, bind_tls
from tests.tls.visits import Visit, client

HERE = Location("test.cfg", 7, 12)


def lines_of(*keys: bytes) -> str:
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)


def some_keys(count: int, size: int = 80) -> list[bytes]:
    return [os.urandom(size) for _ in range(count)]


@pytest.mark.parametrize("size", [48, 80])
def test_the_last_three_count(tmp_path: Path, size: int) -> None:
    keys = some_keys(5, size)
    (tmp_path / "keys").write_text(lines_of(*keys))
    found = read_ticket_keys(str(tmp_path / "keys"), HERE)
    assert found == tuple(keys[2:])
    another = os.urandom(size)
    assert followed_by(found, another) == (keys[3], keys[4], another)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 keys: 3 are needed"),
        (lines_of(*some_keys(1)), "has 1 key: 3 are needed"),
        (lines_of(*some_keys(2)) + "not base64!\n", "line 3 holds no key: it is no base64"),
        (lines_of(*some_keys(1)) + "schl\u00fcssel\n", "line 2 holds no key: it is no base64"),
        (lines_of(*some_keys(3), os.urandom(60)), "line 4 holds no key: it has 60 bytes, and a key has 48 or 80"),
        (lines_of(*some_keys(3)) + "\n", "line 4 holds no key: it has 0 bytes"),
        (lines_of(os.urandom(48), *some_keys(3)), "line 2 holds no key: it has 80 bytes, and the first one 48"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_ticket_keys(str(tmp_path / "keys"), HERE)
    diagnostic = refused.value.diagnostic
    assert said in diagnostic.message and diagnostic.location == HERE
    assert diagnostic.remedy == "make each with: openssl rand 80 | openssl base64 -A; echo"
    for line in text.splitlines():
        assert len(line) < 20 or line not in f"{diagnostic}", "keys are shown to nobody"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ticket key file"):
        read_ticket_keys(str(tmp_path / "nowhere"), HERE)


# --- OpenSSL is told ---


def line(pki: Pki, path: Path, storage: Storage | None = None, name: str = "a.pem", **policy: object) -> BindContext:
    """A bind line with the keys of a file; without `storage` as another machine would have it."""
    tls = replace(bind_tls(pki, name, **policy), ticket_keys=NamedFile(str(path), HERE))
    report = Report()
    built = build_bind_context(tls, SessionCache(), report, storage=storage)
    assert built is not None, [render(item) for item in report.items]
    return built


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def visitor(request: pytest.FixtureRequest, pki: Pki) -> ssl.SSLContext:
    context = client(pki)
    context.minimum_version = context.maximum_version = request.param
    return context


@pytest.mark.parametrize("size", [48, 80])
def test_who_has_the_keys_reads_the_tickets(world: World, pki: Pki, tmp_path: Path, visitor: ssl.SSLContext, size: int) -> None:
    (tmp_path / "keys").write_text(lines_of(*some_keys(3, size)))
    (tmp_path / "others").write_text(lines_of(*some_keys(3, size)))
    first = Visit(world, line(pki, tmp_path / "keys"), visitor)
    assert not first.reused and first.error is None
    assert Visit(world, line(pki, tmp_path / "keys"), visitor, session=first.session).reused
    again = Visit(world, line(pki, tmp_path / "others"), visitor, session=first.session)
    assert not again.reused and again.error is None


def test_a_key_that_is_appended_is_known_before_it_is_used(
    world: World, pki: Pki, tmp_path: Path, visitor: ssl.SSLContext
) -> None:
    keys = some_keys(4)
    (tmp_path / "old").write_text(lines_of(*keys[:3]))
    (tmp_path / "new").write_text(lines_of(*keys))
    old, new = line(pki, tmp_path / "old"), line(pki, tmp_path / "new")
    of_old, of_new = Visit(world, old, visitor), Visit(world, new, visitor)
    assert Visit(world, new, visitor, session=of_old.session).reused
    assert Visit(world, old, visitor, session=of_new.session).reused


def test_keys_that_are_replaced_while_serving(world: World, pki: Pki, tmp_path: Path, visitor: ssl.SSLContext) -> None:
    """A ticket of a key that encrypts no more is exchanged for another; one of a key that is gone opens nothing."""
    (tmp_path / "keys").write_text(lines_of(*some_keys(3)))
    storage = Storage()
    bind = line(pki, tmp_path / "keys", storage)
    first = Visit(world, bind, visitor)
    (entry,) = storage.ticket_keys.values()
    storage.replace(entry, followed_by(entry.contents, os.urandom(80)))
    second = Visit(world, bind, visitor, session=first.session)
    assert second.reused
    storage.replace(entry, followed_by(entry.contents, os.urandom(80)))
    assert not Visit(world, bind, visitor, session=first.session).reused
    assert Visit(world, bind, visitor, session=second.session).reused


def test_a_ticket_opens_no_line_with_another_policy(world: World, pki: Pki, tmp_path: Path, visitor: ssl.SSLContext) -> None:
    (tmp_path / "keys").write_text(lines_of(*some_keys(3)))
    anonymous = Visit(world, line(pki, tmp_path / "keys"), visitor)
    assert anonymous.session is not None
    closed = line(pki, tmp_path / "keys", verify=Verify.REQUIRED, ca_file=pki.ca)
    refused = Visit(world, closed, visitor, session=anonymous.session)
    assert refused.error is not None or not refused.reused
    assert not refused.server.data


# --- functions without a name ---


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What was found is forgotten, before the test and behind it."""
    for cached in (unbound.function, unbound._found):
        cached.cache_clear()
    yield
    for cached in (unbound.function, unbound._found):
        cached.cache_clear()


def test_the_size_of_a_cache_is_heeded() -> None:
    """Also: the functions that are found are those of the library that we use."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    limit_cache(context, 123)
    control = unbound.function("SSL_CTX_ctrl")
    assert control(context._context, 43, 0, ffi.NULL) == 123  # SSL_CTRL_GET_SESS_CACHE_SIZE
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    assert control(context._context, 45, 0, ffi.NULL) == lib.SSL_CTX_get_session_cache_mode(context._context) == 1


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (None, "can't be read: .*No such file"),
        (b"", "can't be read: cannot mmap an empty file"),
        (b"#!/bin/sh\n", "it is no ELF file"),
        (b"\x7fELF\x02\x01" + bytes(100), "its symbols are stripped"),
        (b"\x7fELF\x02\x01" + bytes(54) + b"\xff\xff", "can't be read"),
    ],
    ids=["absent", "empty", "a script", "no sections", "damaged"],
)
def test_where_they_can_not_be_found(
    monkeypatch: pytest.MonkeyPatch, forgotten: None, tmp_path: Path, pki: Pki, contents: bytes | None, why: str
) -> None:
    module = tmp_path / "module.so"
    if contents is not None:
        module.write_bytes(contents)
    monkeypatch.setattr(_rust, "__file__", str(module))
    with pytest.raises(unbound.Unreachable, match=why):
        unbound.function("SSL_CTX_ctrl")
    (tmp_path / "keys").write_text(lines_of(*some_keys(3)))
    with_keys = replace(bind_tls(pki, "a.pem"), ticket_keys=NamedFile(str(tmp_path / "keys"), HERE))
    with_sigalgs = bind_tls(pki, "a.pem", client_sigalgs="ECDSA+SHA256")
    for tls, option in ((with_keys, "tls-ticket-keys"), (with_sigalgs, "client-sigalgs")):
        report = Report()
        assert build_bind_context(tls, SessionCache(), report) is None
        (alert,) = report.alerts
        assert alert.message.startswith(f"'{option}' can't be followed: ") and alert.remedy
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem"), SessionCache(100), report) is not None
    assert [item.message for item in report.items] == [
        "tune.ssl.cachesize 100: the TLS library can't be told, it keeps 20480 sessions a line"
    ]
    report = Report()
    server = build_server_context(ServerTls(verify=Verify.NONE, allow_0rtt=True, location=HERE), report)
    assert server is not None and server.early_data is None
    (notice,) = report.items
    assert (notice.severity, notice.location) == (Severity.NOTICE, HERE)
    assert notice.message.startswith("'allow-0rtt' can't be followed: ")
    assert notice.message.endswith("; requests wait for the handshake")


def test_a_function_that_the_library_does_not_have(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> None:
    monkeypatch.setitem(unbound._TYPES, "SSL_CTX_set_nonsense", "int (*)(SSL_CTX *)")
    with pytest.raises(unbound.Unreachable, match="the TLS library has no SSL_CTX_set_nonsense"):
        unbound.function("SSL_CTX_set_nonsense")
