"""Fetches about TLS (manual 7.3.4): the client's (`ssl_fc_*`, `ssl_c_*`, `ssl_f_*`) and the server's (`ssl_bc_*`, `ssl_s_*`).

All facts come from `TlsFacts`; what a certificate holds is read by `certificates`.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.plan.facts import Stream, TlsFacts, Value
from headgate.plan.fetches import certificates
from headgate.plan.places import RESPONSE_MEMORY, SESSION, Place
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope

Side = Callable[[Stream], TlsFacts | None]


def _front(stream: Stream) -> TlsFacts | None:
    return stream.session.tls


def _back(stream: Stream) -> TlsFacts | None:
    return stream.server_tls


def _when_tls(side: Side, answer: Callable[[TlsFacts], Value]) -> Run:
    def run(stream: Stream) -> Value:
        tls = side(stream)
        return None if tls is None else answer(tls)

    return run


def _is_tls(side: Side) -> Run:
    return lambda stream: side(stream) is not None


_CONNECTION: tuple[tuple[str, Type, Callable[[TlsFacts], Value]], ...] = (
    ("protocol", Type.STR, lambda tls: tls.version.encode()),
    ("cipher", Type.STR, lambda tls: tls.cipher.encode()),
    ("alg_keysize", Type.SINT, lambda tls: tls.cipher_bits),
    ("use_keysize", Type.SINT, lambda tls: tls.cipher_bits),
    ("is_resumed", Type.BOOL, lambda tls: tls.resumed),
    ("alpn", Type.STR, lambda tls: tls.alpn),
    ("sni", Type.STR, lambda tls: tls.sni),
    ("session_id", Type.BIN, lambda tls: tls.session_id),
)

for _prefix, _side, _places in (("ssl_fc", _front, SESSION), ("ssl_bc", _back, RESPONSE_MEMORY)):
    plain(_prefix, result=Type.BOOL, places=_places, run=_is_tls(_side))
    for _name, _type, _answer in _CONNECTION:
        plain(f"{_prefix}_{_name}", result=_type, places=_places, run=_when_tls(_side, _answer))

plain("ssl_fc_has_sni", result=Type.BOOL, places=SESSION, run=_when_tls(_front, lambda tls: tls.sni is not None))
plain("ssl_fc_has_crt", result=Type.BOOL, places=SESSION, run=_when_tls(_front, lambda tls: tls.client_certificate_sent))
plain("ssl_c_used", result=Type.BOOL, places=SESSION, run=_when_tls(_front, lambda tls: tls.peer_certificate is not None))
plain("ssl_c_verify", result=Type.SINT, places=SESSION, run=_when_tls(_front, lambda tls: tls.verify_error))
plain("ssl_c_err", result=Type.SINT, places=SESSION, run=_when_tls(_front, lambda tls: tls.certificate_error))
plain("ssl_c_ca_err", result=Type.SINT, places=SESSION, run=_when_tls(_front, lambda tls: tls.authority_error))
plain("ssl_c_ca_err_depth", result=Type.SINT, places=SESSION, run=_when_tls(_front, lambda tls: tls.authority_error_depth))


def _ssl_fc_err(stream: Stream) -> Value:
    session = stream.session
    return session.tls_error if session.tls is not None or session.tls_error else None


plain("ssl_fc_err", result=Type.SINT, places=SESSION, run=_ssl_fc_err)


# --- certificates ----------------------------------------------------------------------------------------------------


def _peer(tls: TlsFacts) -> object | None:
    return tls.peer_certificate


def _own(tls: TlsFacts) -> object | None:
    return tls.own_certificate


def _from_certificate(side: Side, which: Callable[[TlsFacts], object | None], read: Callable[[object], Value]) -> Run:
    def run(stream: Stream) -> Value:
        tls = side(stream)
        if tls is None:
            return None
        certificate = which(tls)
        return None if certificate is None else read(certificate)

    return run


def _register(prefix: str, side: Side, which: Callable[[TlsFacts], object | None], places: Place) -> None:
    for name, (type_, read) in certificates.FIELDS.items():
        plain(f"{prefix}_{name}", result=type_, places=places, run=_from_certificate(side, which, read))
    for name, issuer in (("s_dn", False), ("i_dn", True)):

        def compile_dn(
            scope: Scope, entry: bytes | None, position: int | None, form: bytes | None, *, issuer: bool = issuer
        ) -> Run:
            return _from_certificate(side, which, certificates.dn_reader(issuer, entry, position, form))

        fetch(
            f"{prefix}_{name}", result=Type.STR, places=places, required=0,
            arguments=(Argument.STRING, Argument.INTEGER, Argument.STRING),
        )(compile_dn)


_register("ssl_c", _front, _peer, SESSION)
_register("ssl_f", _front, _own, SESSION)
_register("ssl_s", _back, _peer, RESPONSE_MEMORY)
plain("ssl_c_san", result=Type.STR, places=SESSION, run=_from_certificate(_front, _peer, certificates.SAN))
