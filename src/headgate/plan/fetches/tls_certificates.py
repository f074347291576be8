"""Fetches about certificates in TLS (manual 7.3.4): the client's (`ssl_c_*`), ours (`ssl_f_*`), the server's (`ssl_s_*`).

Which connection and which certificate is chosen here; what stands in a certificate is read by `certificates`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.plan.facts import Stream, TlsFacts, Value
from headgate.plan.fetches import certificates
from headgate.plan.fetches.layer5 import Side, back, front
from headgate.plan.places import SESSION, Place
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope

Which = Callable[[TlsFacts], object | None]

_DN: Final = (Argument.STRING, Argument.INTEGER, Argument.STRING)


def _peer(tls: TlsFacts) -> object | None:
    return tls.peer_certificate


def _own(tls: TlsFacts) -> object | None:
    return tls.own_certificate


def _root(tls: TlsFacts) -> object | None:
    return tls.root_certificate


def _from_certificate(side: Side, which: Which, read: Callable[[object], Value]) -> Run:
    def run(stream: Stream) -> Value:
        tls = side(stream)
        if tls is None:
            return None
        certificate = which(tls)
        return None if certificate is None else read(certificate)

    return run


def _name(name: str, side: Side, which: Which, places: Place, *, issuer: bool) -> None:
    """A distinguished name: `([entry[,occurrence[,format]]])`."""

    @fetch(name, result=Type.STR, places=places, required=0, arguments=_DN)
    def compile_name(scope: Scope, entry: bytes | None, position: int | None, form: bytes | None) -> Run:
        return _from_certificate(side, which, certificates.dn_reader(issuer, entry, position, form))


def _register(prefix: str, side: Side, which: Which, places: Place) -> None:
    for name, (type_, read) in certificates.FIELDS.items():
        plain(f"{prefix}_{name}", result=type_, places=places, run=_from_certificate(side, which, read))
    _name(f"{prefix}_s_dn", side, which, places, issuer=False)
    _name(f"{prefix}_i_dn", side, which, places, issuer=True)


_register("ssl_c", front, _peer, SESSION)
_register("ssl_f", front, _own, SESSION)
# HAProxy takes these wherever there is a session; before there is a connection to the server they are no sample.
_register("ssl_s", back, _peer, SESSION)
_name("ssl_c_r_dn", front, _root, SESSION, issuer=False)
plain("ssl_c_san", result=Type.STR, places=SESSION, run=_from_certificate(front, _peer, certificates.SAN))


@fetch("ssl_c_policies", result=Type.STR, places=SESSION, required=0, arguments=(Argument.STRING,))
def policies(scope: Scope, wanted: bytes | None) -> Run:
    return _from_certificate(front, _peer, certificates.policies_reader(wanted))


def _chain(side: Side) -> Run:
    """The certificates above the peer's own, as they were sent, one DER behind the other."""

    def run(stream: Stream) -> Value:
        tls = side(stream)
        return None if tls is None or not tls.established else b"".join(tls.peer_chain) or None

    return run


plain("ssl_c_chain_der", result=Type.BIN, places=SESSION, run=_chain(front))
plain("ssl_s_chain_der", result=Type.BIN, places=SESSION, run=_chain(back))
