"""The fetcher against responders that misbehave, each in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.runtime.ocsp import fetcher as module
from headgate.runtime.ocsp import http as http_module
from headgate.runtime.ocsp.eyeballs import Dialler
from headgate.runtime.ocsp.fetcher import Fetcher, Timing
from headgate.runtime.ocsp.http import HttpAnswer
from headgate.runtime.ocsp.names import Place
from headgate.tls.authority import issue, make_authority
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.request import HttpRequest
from tests.runtime.ocsp.responders import (
    Asked,
    Responder,
    black_hole,
    breaks_off,
    drips,
    http,
    is_silent,
    port_of_both,
    pours,
    redirects,
    sends,
)
from tests.runtime.ocsp.test_eyeballs import LOOP4, LOOP6, V4, V6, FakeNames

GOOD = sends(http(b"good"))


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def responder(stack: contextlib.ExitStack, *arguments: object, **options: object) -> Responder:
    made = Responder(*arguments, **options)  # type: ignore[arg-type]
    stack.callback(made.close)
    return made


def check(answer: HttpAnswer) -> bytes:
    if answer.body != b"good":
        raise Failure(failures.GARBAGE, "garbage")
    return answer.body


def fetch(
    *uris: str,
    places: tuple[Place, ...] = (LOOP4,),
    retries: int = 1,
    proxy: tuple[str, int] | None = None,
    preferred: int = V6,
    limit: float = 5.0,
    requests: list[HttpRequest] | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[bytes | Failure, Timing | None, float]:
    start = time.monotonic()
    fetcher = Fetcher(
        Dialler(FakeNames((0, list(places))), preferred, limit),  # type: ignore[arg-type]
        retries=retries, proxy=proxy, tls=lambda: tls or ssl.create_default_context(), random=lambda: 0.5,
    )  # fmt: skip
    result, timing = asyncio.run(fetcher.fetch(requests or [HttpRequest("GET", uri) for uri in uris], check))
    return result, timing, time.monotonic() - start


def failure_of(*uris: str, **options: object) -> Failure:
    result, _, _ = fetch(*uris, **options)  # type: ignore[arg-type]
    assert isinstance(result, Failure)
    return result


def test_good(stack: contextlib.ExitStack) -> None:
    one = responder(stack, GOOD)
    result, timing, _ = fetch(f"http://ocsp.example:{one.port}/abc?d=e")
    assert (result, timing) == (b"good", None)
    (asked,) = one.asked
    assert (asked.method, asked.target, asked.headers["host"]) == ("GET", "/abc?d=e", f"ocsp.example:{one.port}")
    assert asked.headers["connection"] == "close" and asked.headers["accept"] == "application/ocsp-response"


def test_post(stack: contextlib.ExitStack) -> None:
    one = responder(stack, GOOD)
    request = HttpRequest("POST", f"http://a:{one.port}/", b"request" * 100, "application/ocsp-request")
    assert fetch(requests=[request])[0] == b"good"
    assert one.asked[0].body == b"request" * 100 and one.asked[0].headers["content-type"] == "application/ocsp-request"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\ngood",
        b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\ngood",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood",
    ],
)
def test_forms_of_answers(stack: contextlib.ExitStack, answer: bytes) -> None:
    assert fetch(f"http://a:{responder(stack, sends(answer)).port}")[0] == b"good"


def flaky(times: int) -> object:
    count = iter(range(1000))

    def behave(asked: Asked, sock: socket.socket) -> None:
        sock.sendall(http(b"", "503 Service Unavailable") if next(count) < times else http(b"good"))

    return behave


def test_503_for_a_while(stack: contextlib.ExitStack) -> None:
    one = responder(stack, flaky(2))
    assert fetch(f"http://a:{one.port}", retries=2)[0] == b"good"
    assert len(one.asked) == 3
    _, timing, _ = fetch(f"http://a:{responder(stack, flaky(1)).port}", retries=2)
    assert timing is not None and (timing.status, timing.method) == (503, "GET")


def test_503_over_both_families(stack: contextlib.ExitStack) -> None:
    unavailable = sends(http(b"", "503 Service Unavailable"))
    six = responder(stack, unavailable, "::1", port_of_both())
    four = responder(stack, unavailable, "127.0.0.1", six.port)
    failure = failure_of(f"http://a:{six.port}", places=(LOOP4, LOOP6), retries=3)
    assert failure.text == "503 from the responder over both IPv6 and IPv4, 4 tries"
    assert failure.cause is failures.HTTP_STATUS
    assert len(six.asked) + len(four.asked) == 4 and abs(len(six.asked) - len(four.asked)) <= 2


@pytest.mark.parametrize("bad", [sends(http(b"", "503 Service Unavailable")), sends(http(b"garbage")), breaks_off, is_silent])
@pytest.mark.parametrize("good", [V4, V6])
def test_one_family_is_bad_and_the_other_good(stack: contextlib.ExitStack, bad: object, good: int) -> None:
    """Also where the connection itself works: the other family is tried at once, or when nothing came for a while."""
    six = responder(stack, GOOD if good == V6 else bad, "::1", port_of_both())
    responder(stack, GOOD if good == V4 else bad, "127.0.0.1", six.port)
    result, _, seconds = fetch(f"http://a:{six.port}", places=(LOOP4, LOOP6), preferred=V4 if good == V6 else V6)
    assert result == b"good" and seconds < 9, "sooner than the exchange would have been given up"


def test_without_retries_the_other_family_is_asked_all_the_same(stack: contextlib.ExitStack) -> None:
    six = responder(stack, sends(http(b"", "503 x")), "::1", port_of_both())
    responder(stack, GOOD, "127.0.0.1", six.port)
    assert fetch(f"http://a:{six.port}", places=(LOOP4, LOOP6), retries=0)[0] == b"good"


def test_a_dead_first_responder_and_a_good_second(stack: contextlib.ExitStack) -> None:
    good = responder(stack, GOOD)
    with black_hole("127.0.0.1") as hole:
        result, _, seconds = fetch(f"http://a:{hole}", f"http://b:{good.port}")
        assert result == b"good" and seconds < 5, "sooner than the connection would have been given up"
    closed = responder(stack, GOOD)
    closed.close()
    result, _, seconds = fetch(f"http://a:{closed.port}", f"http://b:{good.port}")
    assert result == b"good" and seconds < 2


def test_a_wrong_answer_of_the_first_responder_does_not_count(stack: contextlib.ExitStack) -> None:
    bad, good = responder(stack, sends(http(b"garbage"))), responder(stack, GOOD)
    assert fetch(f"http://a:{bad.port}", f"http://b:{good.port}")[0] == b"good"


def test_what_a_responder_would_say_again_is_not_asked_for_long(stack: contextlib.ExitStack) -> None:
    one = responder(stack, sends(http(b"garbage")))
    failure = failure_of(f"http://a:{one.port}", retries=50)
    assert failure.cause is failures.GARBAGE and len(one.asked) == 2


def test_ten_megabytes(stack: contextlib.ExitStack) -> None:
    one = responder(stack, pours(10 << 20))
    failure = failure_of(f"http://a:{one.port}")
    assert failure.cause is failures.TOO_LARGE and "64 KB" in failure.text
    one.behave = sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n")
    assert failure_of(f"http://a:{one.port}").cause is failures.TOO_LARGE
    one.behave = sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n" + b"x" * 70_000)
    assert failure_of(f"http://a:{one.port}").cause is failures.TOO_LARGE
    one.behave = sends(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000)
    assert failure_of(f"http://a:{one.port}").cause is failures.PROTOCOL


@pytest.mark.parametrize("behave", [drips, is_silent])
def test_time_is_bounded(stack: contextlib.ExitStack, behave: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "EXCHANGE_LIMIT", 0.5)
    one = responder(stack, behave)
    failure = failure_of(f"http://a:{one.port}")
    assert failure.cause is failures.TIMEOUT and "no complete answer within 0.5 s" in failure.text


def test_all_of_an_update_is_bounded(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATE_LIMIT", 0.5)
    one = responder(stack, is_silent)
    result, _, seconds = fetch(f"http://a:{one.port}", retries=100)
    assert isinstance(result, Failure) and result.cause is failures.TIMEOUT and seconds < 5


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", failures.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\ngood", failures.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\ngood", failures.BROKEN),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngo", failures.BROKEN),
        (b"", failures.BROKEN),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", failures.HTTP_STATUS),
    ],
)
def test_answers_that_are_none(stack: contextlib.ExitStack, answer: bytes, cause: failures.Cause) -> None:
    assert failure_of(f"http://a:{responder(stack, sends(answer)).port}").cause is cause


# --- redirects ---


def test_redirects_are_followed(stack: contextlib.ExitStack) -> None:
    good = responder(stack, GOOD)
    one = responder(stack, redirects(f"http://b:{good.port}/there"))
    assert fetch(f"http://a:{one.port}")[0] == b"good"
    assert good.asked[0].target == "/there"


def test_redirects_keep_the_request_except_303(stack: contextlib.ExitStack) -> None:
    good = responder(stack, GOOD)
    for status, method in (("307 x", "POST"), ("302 x", "POST"), ("303 x", "GET")):
        one = responder(stack, redirects(f"http://b:{good.port}/", status))
        assert fetch(requests=[HttpRequest("POST", f"http://a:{one.port}/", b"abc", "x/y")])[0] == b"good"
        assert good.asked[-1].method == method and good.asked[-1].body == (b"abc" if method == "POST" else b"")


def test_redirect_loops_end(stack: contextlib.ExitStack) -> None:
    one = responder(stack, redirects("/again"))
    failure = failure_of(f"http://a:{one.port}/again")
    assert failure.cause is failures.REDIRECTS and "circle" in failure.text
    count = iter(range(10_000))
    one.behave = lambda asked, sock: sock.sendall(http(b"", "302 x", more=f"location: /{next(count)}\r\n"))
    failure = failure_of(f"http://a:{one.port}/")
    assert failure.cause is failures.REDIRECTS and "more than 3 times" in failure.text


@pytest.mark.parametrize("to", ["ftp://a/", "http://", "http://a:99999/", "http://ä/", "", "http://a/\x00"])
def test_redirects_to_nowhere(stack: contextlib.ExitStack, to: str) -> None:
    one = responder(stack, sends(f"HTTP/1.1 302 x\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()))
    assert failure_of(f"http://a:{one.port}/").cause in (failures.PROTOCOL, failures.REDIRECTS)


# --- proxy, TLS, names ---


def test_proxy(stack: contextlib.ExitStack) -> None:
    one = responder(stack, GOOD)
    assert fetch("http://ocsp.example/x", proxy=("127.0.0.1", one.port))[0] == b"good"
    assert (one.asked[0].target, one.asked[0].headers["host"]) == ("http://ocsp.example/x", "ocsp.example")
    failure = failure_of("https://ocsp.example/x", proxy=("127.0.0.1", one.port))
    assert "https" in failure.text and len(one.asked) == 1
    one.close()
    assert f"(to the proxy 127.0.0.1:{one.port})" in failure_of("http://a/x", proxy=("127.0.0.1", one.port)).text


def test_https(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    ca = make_authority("a CA")
    pem = tmp_path / "site.pem"
    pem.write_bytes(issue(ca, ["ocsp.example"]).pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)

    def behave(asked: Asked, sock: socket.socket) -> None:
        sock.sendall(http(b"good"))

    one = responder(stack, behave)
    accept = one._serve
    one._serve = lambda sock: accept(server.wrap_socket(sock, server_side=True, do_handshake_on_connect=False))  # type: ignore[method-assign, assignment]
    trusting = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    assert fetch(f"https://ocsp.example:{one.port}/", tls=trusting)[0] == b"good"
    failure = failure_of(f"https://ocsp.example:{one.port}/")
    assert failure.cause is failures.TLS and "not trusted" in failure.text
    failure = failure_of(f"https://other.example:{one.port}/", tls=trusting)
    assert failure.cause is failures.TLS


def test_names_that_do_not_exist() -> None:
    failure = failure_of("http://ocsp.example/", places=())
    assert failure.cause is failures.DNS and failure.text == "ocsp.example does not exist (NXDOMAIN), 2 tries"


def test_retry_after(stack: contextlib.ExitStack) -> None:
    one = responder(stack, sends(http(b"", "503 x", more="retry-after: 77\r\n")))
    failure = failure_of(f"http://a:{one.port}", retries=20)
    assert failure.retry_after == 77.0 and len(one.asked) == 2, "it has asked not to be asked"
