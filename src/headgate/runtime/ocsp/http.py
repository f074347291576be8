"""One HTTP exchange of the OCSP fetcher over a connection of its own: bounded in time and size, strict about what comes back.

Heads and framing are read by `wire.http1`, as of any server. Whatever goes wrong is a `Failure`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from urllib.parse import SplitResult, urljoin, urlsplit

from headgate.base.records import dataclass
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.request import HttpRequest
from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.chunked import ChunkedBody
from headgate.wire.http1.dechunk import Dechunker
from headgate.wire.http1.framing import CHUNKED, UNTIL_CLOSE, response_framing
from headgate.wire.http1.heads import ResponseHead, parse_response_head

#: How long an exchange may take behind the connection, seconds: head and body, however slowly they drip.
EXCHANGE_LIMIT = 10.0
_LONGEST_HEAD = 16 * 1024
_MOST_INTERIM = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: No responder may make us wait for longer, seconds.
_LONGEST_RETRY_AFTER = 86400.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        uri: taken apart.
        host, port: to connect to: the responder's, or the proxy's.
        secure: over TLS.
        form: the request target.
    """

    uri: SplitResult
    host: str
    port: int
    secure: bool
    form: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A response.

    Attributes:
        status: of it.
        content_type: without parameters, lower case; "" without one.
        body: all of it.
        location: of a redirect, absolute; "" for none.
        retry_after: seconds, None where that is not said in seconds.
    """

    status: int
    content_type: str
    body: bytes
    location: str = ""
    retry_after: float | None = None


def target_of(uri: str, proxy: tuple[str, int] | None) -> Target:
    """Where a request for this URI goes.

    Raises:
        Failure: it can't be asked for.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
        host = parts.hostname or ""
        uri.encode("ascii")
    except ValueError:
        raise Failure(failures.PROTOCOL, f"the responder's URI is not valid: {uri[:200]!r}") from None
    secure = parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host or port == 0 or any(one <= " " or one == "\x7f" for one in uri):
        raise Failure(failures.PROTOCOL, f"the responder's URI is not valid: {uri[:200]!r}")
    origin = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if proxy is None:
        return Target(parts, host, port or (443 if secure else 80), secure, origin)
    if secure:
        raise Failure(failures.CONNECT, "the responder wants https, and 'ocsp-update.httpproxy' is for http only")
    return Target(parts, *proxy, False, f"http://{parts.netloc.rpartition('@')[2]}{origin}")


def request_head(request: HttpRequest, target: Target) -> bytes:
    """The request's head."""
    lines = [
        f"{request.method} {target.form} HTTP/1.1",
        f"host: {target.uri.netloc.rpartition('@')[2]}",
        "user-agent: headgate",
        f"accept: {request.accept}",
        "connection: close",
    ]
    if request.method != "GET":
        lines += [f"content-type: {request.content_type}", f"content-length: {len(request.body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def exchange(
    sock: socket.socket, request: HttpRequest, target: Target, secure: ssl.SSLContext | None, longest: int
) -> HttpAnswer:
    """Send a request over a connected socket and read the response; the socket is closed in any case.

    Args:
        sock: connected, non-blocking.
        request: what is asked.
        target: where.
        secure: for TLS, None for none.
        longest: bytes that the body may have.

    Raises:
        Failure: there is no complete response.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(EXCHANGE_LIMIT):
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=secure, server_hostname=target.host if secure is not None else None, limit=_LONGEST_HEAD
            )
            writer.write(request_head(request, target) + request.body)
            await writer.drain()
            return await _read(reader, request, longest)
    except TimeoutError:
        raise Failure(failures.TIMEOUT, f"no complete answer within {EXCHANGE_LIMIT:g} s") from None
    except ssl.SSLError as error:
        raise Failure(failures.TLS, f"no TLS connection: {_tls_reason(error)}") from None
    except ProtocolViolation as violation:
        raise Failure(failures.PROTOCOL, f"the answer is no HTTP: {violation.reason}") from None
    except (OSError, EOFError):
        raise Failure(failures.BROKEN, "the connection broke off before the answer was complete") from None
    finally:
        if writer is not None:
            writer.transport.abort()
        else:
            sock.close()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted ({error.verify_message})"
    return (error.reason or "handshake failed").lower().replace("_", " ")


async def _read(reader: asyncio.StreamReader, request: HttpRequest, longest: int) -> HttpAnswer:
    head = await _final_head(reader)
    length = response_framing(head, request.method.encode("ascii")).length
    if length == CHUNKED:
        body = await _chunked(reader, longest)
    elif length == UNTIL_CLOSE:
        body = await _until_close(reader, longest)
    elif length > longest:
        raise _too_large(longest)
    else:
        body = await reader.readexactly(length)
    content_type = (head.first(b"content-type") or b"").partition(b";")[0].strip().lower().decode("latin-1")
    location = ""
    if head.status in _REDIRECTS:
        location = urljoin(request.uri, (head.first(b"location") or b"").decode("latin-1"))
    return HttpAnswer(head.status, content_type, body, location, _retry_after(head))


def _retry_after(head: ResponseHead) -> float | None:
    text = (head.first(b"retry-after") or b"")[:10]
    return min(float(int(text)), _LONGEST_RETRY_AFTER) if text.isdigit() else None


async def _final_head(reader: asyncio.StreamReader) -> ResponseHead:
    for _ in range(_MOST_INTERIM):
        try:
            text = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise ProtocolViolation("a head without an end") from None
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise ProtocolViolation("a head without an end") from None
            raise
        head = parse_response_head(text[:-4])
        if head.status >= 200:
            return head
    raise ProtocolViolation("interim responses without an end")


def _too_large(longest: int) -> Failure:
    return Failure(failures.TOO_LARGE, f"the answer is longer than {longest >> 10} KB")


async def _chunked(reader: asyncio.StreamReader, longest: int) -> bytes:
    walker, payload, body = ChunkedBody(502), Dechunker(), b""
    while not walker.done:
        data = await reader.read(16384)
        if not data:
            raise EOFError
        body += payload.feed(data[: walker.feed(data)])
        if len(body) > longest:
            raise _too_large(longest)
    return body


async def _until_close(reader: asyncio.StreamReader, longest: int) -> bytes:
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while data := await reader.read(16384):
            body += data
            if len(body) > longest:
                raise _too_large(longest)
    return body
