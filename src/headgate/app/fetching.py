"""`httpclient`: one HTTP request of the process itself, for those who look for a fault. Bounded in time and size."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from urllib.parse import SplitResult, urlsplit

from headgate.admin.registry import CommandError

#: The whole exchange may take this long, seconds, and the answer be this long, bytes.
PATIENCE = 10.0
LONGEST = 1 << 20

_METHOD = re.compile(r"[A-Z]{1,20}")
_TEXT = re.compile(r"[\x21-\x7e]+")


async def fetch(method: str, uri: str) -> str:
    """Send a request without a body; the response's head and body as text.

    Args:
        method: in capitals.
        uri: with scheme http or https. Certificates are verified against those that the system trusts.

    Raises:
        CommandError: it can't be sent, or there is no answer.
    """
    target = _target(method, uri)
    try:
        async with asyncio.timeout(PATIENCE):
            data = await _exchange(method, target)
    except TimeoutError:
        raise CommandError(f"No answer of {target.hostname} within {PATIENCE:g} s.") from None
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise CommandError(f"No answer of {target.hostname}: {error}.") from None
    if not data:
        raise CommandError(f"{target.hostname} closed the connection without an answer.")
    text = data[:LONGEST].decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
    # An empty line would end the answer for a client that reads it: a space makes it none.
    return "\n".join([line or " " for line in text.split("\n")])


def _target(method: str, uri: str) -> SplitResult:
    if _METHOD.fullmatch(method) is None:
        raise CommandError("The method is a word in capitals, as GET.")
    try:
        target = urlsplit(uri)
        port = target.port
    except ValueError as error:
        raise CommandError(f"Not a URI: {error}.") from None
    if target.scheme not in ("http", "https") or not target.hostname or _TEXT.fullmatch(uri) is None or port == 0:
        raise CommandError("Expects an URI with http:// or https:// and a host.")
    return target


async def _exchange(method: str, target: SplitResult) -> bytes:
    secure = ssl.create_default_context() if target.scheme == "https" else None
    reader, writer = await asyncio.open_connection(target.hostname, target.port or (443 if secure else 80), ssl=secure)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        host = target.netloc.rpartition("@")[2]
        # HTTP/1.0, so that the body has no chunks and ends with the connection.
        head = f"{method} {path} HTTP/1.0\r\nhost: {host}\r\nuser-agent: headgate\r\naccept: */*\r\n\r\n"
        writer.write(head.encode("ascii"))
        await writer.drain()
        data = b""
        while len(data) <= LONGEST and (piece := await reader.read(65536)):
            data += piece
        return data
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
