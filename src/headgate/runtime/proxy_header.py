"""The PROXY header that a new server connection begins with (5.2 send-proxy, send-proxy-v2, proxy-v2-options)."""

from __future__ import annotations

from typing import Final

from headgate.config.model import ProxyProtocolSend
from headgate.plan.facts import Stream, destination_of
from headgate.wire import proxy_protocol

#: Options that need facts of the client's TLS connection.
_ABOUT_TLS: Final = frozenset({"ssl", "cert-cn", "ssl-cipher", "cert-sig", "cert-key", "authority"})


def encode_header(send: ProxyProtocolSend, stream: Stream) -> bytes:
    """The header for a connection that is made on behalf of `stream`'s client."""
    session = stream.session
    source = session.source
    destination, port = destination_of(stream)
    if send.version == 1:
        return proxy_protocol.encode_v1(source, session.source_port, destination, port)
    options = send.options
    tls = session.tls
    info = None
    if tls is not None and options & _ABOUT_TLS:
        from headgate.tls.peer import tls_info  # reads certificates: only where it is asked for

        info = tls_info(tls)
    tlvs = proxy_protocol.tlvs_for(
        options,
        tls=info,
        alpn=tls.alpn if tls is not None else None,
        authority=tls.sni if tls is not None else None,
        unique_id=stream.unique_id,
    )
    return proxy_protocol.encode_v2(
        source, session.source_port, destination, port, tlvs, crc32c="crc32c" in options
    )
