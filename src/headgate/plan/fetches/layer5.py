"""Fetches about TLS connections (manual 7.3.4): the client's (`ssl_fc_*`) and the server's (`ssl_bc_*`), and who verified whom.

All facts come from `TlsFacts`; the certificates (`ssl_c_*`, `ssl_f_*`, `ssl_s_*`) are in `tls_certificates`, what the ClientHello
offered in `tls_offers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.plan.facts import Stream, TlsFacts, Value
from headgate.plan.fetches.tls_offers import hello_of
from headgate.plan.places import RESPONSE_MEMORY, SESSION, Place
from headgate.plan.registry import fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope

Side = Callable[[Stream], TlsFacts | None]


def front(stream: Stream) -> TlsFacts | None:
    """The client's side; where its handshake failed, what is known of that."""
    session = stream.session
    return session.tls or session.unfinished


def back(stream: Stream) -> TlsFacts | None:
    """The server's side."""
    return stream.server_tls


def when_tls(side: Side, answer: Callable[[TlsFacts], Value]) -> Run:
    """A fetch of a TLS connection, whether its handshake succeeded or not; no sample for a plain one."""

    def run(stream: Stream) -> Value:
        tls = side(stream)
        return None if tls is None else answer(tls)

    return run


def when_established(side: Side, answer: Callable[[TlsFacts], Value]) -> Run:
    """A fetch of something that is there behind a handshake only."""

    def run(stream: Stream) -> Value:
        tls = side(stream)
        return None if tls is None or not tls.established else answer(tls)

    return run


def _is_tls(side: Side) -> Run:
    return lambda stream: side(stream) is not None


def _is_resumed(side: Side) -> Run:
    """False, and not missing, for plain connections: so `!ssl_fc_is_resumed` holds for them."""

    def run(stream: Stream) -> Value:
        tls = side(stream)
        return tls is not None and tls.resumed

    return run


Rows = tuple[tuple[str, Type, Callable[[TlsFacts], Value]], ...]

#: Also of handshakes that failed, as far as they came.
_ALWAYS: Final[Rows] = (
    ("protocol", Type.STR, lambda tls: tls.version.encode() or None),
    ("cipher", Type.STR, lambda tls: tls.cipher.encode()),
    ("alg_keysize", Type.SINT, lambda tls: tls.cipher_algorithm_bits or None),
    ("use_keysize", Type.SINT, lambda tls: tls.cipher_bits or None),
    ("curve", Type.STR, lambda tls: tls.group),
    ("alpn", Type.STR, lambda tls: tls.alpn),
    ("client_random", Type.BIN, lambda tls: tls.client_random or None),
    ("server_random", Type.BIN, lambda tls: tls.server_random or None),
    ("err", Type.SINT, lambda tls: tls.error),
    ("err_str", Type.STR, lambda tls: tls.error_text.encode() or None),
)
_ESTABLISHED: Final[Rows] = (
    ("session_id", Type.BIN, lambda tls: tls.session_id or None),
    ("session_key", Type.BIN, lambda tls: tls.session_key or None),
    ("unique_id", Type.BIN, lambda tls: tls.unique_id or None),
)

for _prefix, _side, _places in (("ssl_fc", front, SESSION), ("ssl_bc", back, RESPONSE_MEMORY)):
    plain(_prefix, result=Type.BOOL, places=_places, run=_is_tls(_side))
    plain(f"{_prefix}_is_resumed", result=Type.BOOL, places=_places, run=_is_resumed(_side))
    for _name, _type, _answer in _ALWAYS:
        plain(f"{_prefix}_{_name}", result=_type, places=_places, run=when_tls(_side, _answer))
    for _name, _type, _answer in _ESTABLISHED:
        plain(f"{_prefix}_{_name}", result=_type, places=_places, run=when_established(_side, _answer))


def _sni(stream: Stream) -> Value:
    """The name asked for. Where the handshake ended before OpenSSL came to it, the ClientHello tells."""
    tls = front(stream)
    if tls is None:
        return None
    if tls.established:
        return tls.sni
    hello = hello_of(stream.session)
    return tls.sni if hello is None else hello.sni


def _has_sni(stream: Stream) -> Value:
    return _sni(stream) is not None


def _handshake_error(tls: TlsFacts) -> Value:
    return 0 if tls.established else tls.error


def _handshake_error_text(tls: TlsFacts) -> Value:
    return None if tls.established else tls.error_text.encode() or None


plain("ssl_fc_sni", result=Type.STR, places=SESSION, run=_sni)
plain("ssl_fc_has_sni", result=Type.BOOL, places=SESSION, run=_has_sni)
plain("ssl_bc_sni", result=Type.STR, places=RESPONSE_MEMORY, run=when_tls(back, lambda tls: tls.sni))
plain(
    "ssl_fc_crtname", result=Type.STR, places=SESSION,
    run=when_tls(front, lambda tls: tls.own_certificate_name),
)
# Names that HAProxy gave these two before 2.5: errors of the handshake only, none that came later.
plain("ssl_fc_hsk_err", result=Type.SINT, places=SESSION, run=when_tls(front, _handshake_error))
plain("ssl_fc_hsk_err_str", result=Type.STR, places=SESSION, run=when_tls(front, _handshake_error_text))


def _cause(stream: Stream) -> Value:
    """Ours: the code of what made the handshake fail (docs/handshake-causes.md)."""
    handshake = stream.session.handshake
    if handshake is None or not (cause := handshake.cause).number:
        return None
    return cause.code.encode()


def _advice(stream: Stream) -> Value:
    """Ours: what happened and what to change, in a sentence."""
    handshake = stream.session.handshake
    return None if handshake is None else handshake.advice.encode() or None


plain("ssl_fc_cause", result=Type.STR, places=SESSION, run=_cause)
plain("ssl_fc_advice", result=Type.STR, places=SESSION, run=_advice)


# --- the client's certificate, as OpenSSL judged it ------------------------------------------------------------------

plain(
    "ssl_fc_has_crt", result=Type.BOOL, places=SESSION,
    run=when_established(front, lambda tls: tls.client_certificate_sent),
)
plain("ssl_c_used", result=Type.BOOL, places=SESSION, run=when_tls(front, lambda tls: tls.peer_certificate is not None))
plain("ssl_c_verify", result=Type.SINT, places=SESSION, run=when_established(front, lambda tls: tls.verify_error))
plain("ssl_c_err", result=Type.SINT, places=SESSION, run=when_tls(front, lambda tls: tls.certificate_error))
plain("ssl_c_ca_err", result=Type.SINT, places=SESSION, run=when_tls(front, lambda tls: tls.authority_error))
plain("ssl_c_ca_err_depth", result=Type.SINT, places=SESSION, run=when_tls(front, lambda tls: tls.authority_error_depth))


# --- NPN -------------------------------------------------------------------------------------------------------------


def _never(stream: Stream) -> Value:
    return None


def _npn(prefix: str, places: Place) -> None:
    @fetch(f"{prefix}_npn", result=Type.STR, places=places)
    def compile_npn(scope: Scope) -> Run:
        # No connection has a protocol agreed on by NPN: the TLS library has no such thing any more, so `npn` is refused.
        scope.report.warn(
            f"{prefix}_npn never gives anything: ALPN has taken the place of NPN", scope.proxy.location, remedy=f"{prefix}_alpn"
        )
        return _never


_npn("ssl_fc", SESSION)
_npn("ssl_bc", RESPONSE_MEMORY)
