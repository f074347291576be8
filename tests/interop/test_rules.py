"""Rules over real connections: headers, deny, redirect, return, acl, use_backend, forwardfor, error files (manual 4)."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, Message, Wire, answer, read_response, response
from tests.interop.conftest import StartProxy
from tests.interop.test_http_messages import GET, one_server

MakeBackend = Callable[..., Backend]


def ask(client: Wire, target: str = "/", *headers: str) -> Message:
    """One request and its response."""
    lines = "".join(f"{header}\r\n" for header in headers)
    client.send(f"GET {target} HTTP/1.1\r\nHost: site.example\r\n{lines}\r\n".encode())
    return read_response(client)


@pytest.mark.parametrize(
    ("rule", "sent", "name", "arrives"),
    [
        ("http-request set-header X-A new", ["X-A: old", "x-a: older"], "x-a", ["new"]),
        ("http-request add-header X-A new", ["X-A: old"], "x-a", ["old", "new"]),
        ("http-request del-header X-A", ["X-A: old", "x-a: older"], "x-a", []),
        ("http-request replace-header X-A (.*)-(.*) \\2-\\1", ["X-A: left-right"], "x-a", ["right-left"]),
        ("http-request set-header X-A %[src]", [], "x-a", ["127.0.0.1"]),
        ("http-request set-header X-A %[req.hdr(x-b)]", ["X-B: b"], "x-a", ["b"]),
        ('http-request set-header X-A "two words" if { path_beg / }', [], "x-a", ["two words"]),
        ("http-request set-header X-A new if { path_beg /other }", ["X-A: old"], "x-a", ["old"]),
        ("http-request set-header X-A new unless { path_beg /other }", ["X-A: old"], "x-a", ["new"]),
        ("option forwardfor", ["X-Forwarded-For: 10.1.1.1"], "x-forwarded-for", ["10.1.1.1", "127.0.0.1"]),
        ("option forwardfor if-none", ["X-Forwarded-For: 10.1.1.1"], "x-forwarded-for", ["10.1.1.1"]),
        ("option forwardfor except 127.0.0.0/8", [], "x-forwarded-for", []),
        ("option forwardfor except 10.0.0.0/8", [], "x-forwarded-for", ["127.0.0.1"]),
        ("option forwardfor header X-Client", [], "x-client", ["127.0.0.1"]),
        ("option originalto", [], "x-original-to", ["127.0.0.1"]),
        ("option originalto except 127.0.0.1", [], "x-original-to", []),
        ("option originalto header X-Dst", [], "x-dst", ["127.0.0.1"]),
    ],
)
def test_request_headers(
    rule: str, sent: list[str], name: str, arrives: list[str], proxy: StartProxy, backend: MakeBackend, subject: str
) -> None:
    server = backend()
    assert ask(proxy(one_server(server, rule)).connect(), "/", *sent).status == 200
    assert server.requests[0].all(name) == arrives


@pytest.mark.parametrize(
    ("rule", "sent", "name", "arrives"),
    [
        ("http-response set-header X-A new", ["X-A: old"], "x-a", ["new"]),
        ("http-response add-header X-A new", ["X-A: old"], "x-a", ["old", "new"]),
        ("http-response del-header Server", ["Server: secret/1.0"], "server", []),
        ("http-response replace-header X-A (.*)-(.*) \\2-\\1", ["X-A: left-right"], "x-a", ["right-left"]),
        ("http-response set-header X-A %[status]", [], "x-a", ["200"]),
        ("http-response set-header X-A new if { status 404 }", [], "x-a", []),
    ],
)
def test_response_headers(
    rule: str, sent: list[str], name: str, arrives: list[str], proxy: StartProxy, backend: MakeBackend, subject: str
) -> None:
    server = backend(answer(response(b"x", "200 OK", *sent)))
    assert ask(proxy(one_server(server, rule)).connect()).all(name) == arrives


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("http-request deny", 403),
        ("http-request deny deny_status 429", 429),
        ("http-request deny if { path_beg /private }", 403),
        ("http-request deny if { src 127.0.0.0/8 } { method GET }", 403),
        ("http-request deny if !{ hdr(host) -i other.example }", 403),
        ("http-request deny if { path_end .php } or { path_beg /private }", 403),
        ("http-request return status 404", 404),
        ("http-response deny", 502),
    ],
)
def test_denied(rule: str, status: int, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server, rule)).connect()
    assert ask(client, "/private/a").status == status
    if "http-request" in rule:
        assert server.connections == 0


@pytest.mark.parametrize(
    ("rule", "status", "location"),
    [
        ("redirect location /elsewhere", 302, "/elsewhere"),
        ("http-request redirect location /elsewhere code 301", 301, "/elsewhere"),
        ("http-request redirect prefix https://new.example", 302, "https://new.example/a?b=1"),
        ("http-request redirect prefix https://new.example drop-query", 302, "https://new.example/a"),
        ("http-request redirect scheme https code 308", 308, "https://site.example/a?b=1"),
        ("http-request redirect location /?from=%[path]", 302, "/?from=/a"),
        ("redirect prefix / append-slash drop-query if { path_reg ^/a$ }", 302, "//a/"),
    ],
)
def test_redirects(rule: str, status: int, location: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    if rule.startswith("redirect prefix / "):
        location = "/a/"  # "prefix /" inserts nothing
    reply = ask(proxy(one_server(backend(), rule)).connect(), "/a?b=1")
    assert (reply.status, reply.one("location")) == (status, location)


def test_return_answers_without_a_server(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    rule = 'http-request return status 200 content-type text/plain hdr X-By proxy lf-string "you are %[src]" if { path /me }'
    client = proxy(one_server(server, rule)).connect()
    reply = ask(client, "/me")
    assert (reply.status, reply.body, reply.one("x-by")) == (200, b"you are 127.0.0.1", "proxy")
    assert reply.one("content-type") == "text/plain"
    assert ask(client, "/other").body == b"one"  # the same connection goes on


CHOICE = """
frontend web
    bind 127.0.0.1:{port}
    acl static path_beg /static /images
    acl static path_end .css
    acl api hdr(host) -i api.example
    acl secure_api hdr(x-key) -m found
    use_backend files if static
    use_backend api if api secure_api
    use_backend named_%[req.hdr(x-tenant),lower] if { req.hdr(x-tenant) -m found }
    default_backend pages
backend files
    server s 127.0.0.1:FILES
backend api
    server s 127.0.0.1:API
backend named_blue
    server s 127.0.0.1:BLUE
backend pages
    server s 127.0.0.1:PAGES
"""


def test_choice_of_backend(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    config = CHOICE
    for name in ("files", "api", "blue", "pages"):
        config = config.replace(name.upper(), str(backend(name=name).port))
    client = proxy(config).connect()
    assert ask(client, "/static/a").body == b"files"
    assert ask(client, "/a.css").body == b"files"
    client.send(b"GET / HTTP/1.1\r\nHost: API.example\r\nX-Key: k\r\n\r\n")
    assert read_response(client).body == b"api"
    client.send(b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
    assert read_response(client).body == b"pages"
    assert ask(client, "/", "X-Tenant: BLUE").body == b"blue"
    assert ask(client, "/", "X-Tenant: none").body == b"pages"
    assert ask(client).body == b"pages"


def test_errorfile_replaces_a_reply(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, subject: str) -> None:
    page = tmp_path / "403.http"
    page.write_bytes(b"HTTP/1.1 403 Not Today\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nnope")
    reply = ask(proxy(one_server(backend(), f"errorfile 403 {page}", "http-request deny")).connect())
    assert (reply.status, reply.start[2], reply.body) == (403, "Not Today", b"nope")


def test_errorloc(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    reply = ask(proxy(one_server(backend(), "errorloc303 403 /sorry", "http-request deny")).connect())
    assert (reply.status, reply.one("location")) == (303, "/sorry")


def test_rules_run_in_order_and_see_what_came_before(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    rules = ["http-request set-header X-A one", "http-request set-header X-B %[req.hdr(x-a)]-two", "http-request del-header X-A"]
    assert ask(proxy(one_server(server, *rules)).connect(), "/", "X-A: zero").status == 200
    assert (server.requests[0].all("x-a"), server.requests[0].all("x-b")) == ([], ["one-two"])


def test_no_server_is_503(proxy: StartProxy, subject: str) -> None:
    client = proxy("frontend web\n bind 127.0.0.1:{port}\n default_backend none\nbackend none\n").connect()
    client.send(GET)
    assert read_response(client).status == 503


def test_monitor_uri(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server, "monitor-uri /alive")).connect()
    assert ask(client, "/alive").status == 200
    assert server.connections == 0
