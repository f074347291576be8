"""What begins like a request, and what does not."""

from __future__ import annotations

import pytest

from headgate.wire.http1.first_bytes import begins_request


@pytest.mark.parametrize("data", [
    b"G", b"OPT", b"GET", b"GET x", b"PRI * HTTP/2.0\r\n", b"REPORT / HTTP/1.0\r\n", b"get / HTTP/1.1\r\n", b"M-SEARCH *",
    b"X http://a.b/ HTTP/1.1", b"tunnel a.b:443 HTTP/1.1",
])  # fmt: skip
def test_http(data: bytes) -> None:
    assert begins_request(data)


@pytest.mark.parametrize("data", [
    b"GETX", b"g", b"EHLO x\r\n", b"SSH-2.0-x\r\n", b"REGISTER sip:a@b SIP/2.0\r\n", b"PLAY rtsp://x/ RTSP/1.0", b" / HTTP/1.1",
    b"\x00 /", b"a b",
])  # fmt: skip
def test_others(data: bytes) -> None:
    assert not begins_request(data)
