"""Fetches about what a TLS client offered in its ClientHello to one of our own TLS ports (manual 7.3.4), and its fingerprints.

What is blindly passed on has fetches of its own in `payload`. The record of the handshake keeps the client's first bytes; they
are parsed when the first fetch looks at them. `tune.ssl.capture-buffer-size` is the room that HAProxy has for the lists: when it
is set it bounds the answers here, too; when it is not nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Session, Stream, Value
from headgate.plan.places import SESSION
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope
from headgate.wire.fingerprints import ja3, ja4

if TYPE_CHECKING:
    from headgate.wire.client_hello import ClientHello

#: A list of the hello in its form on the wire; None when the client did not send it.
Offer = Callable[["ClientHello"], bytes | None]

_SUPPORTED_GROUPS: Final = 10
_POINT_FORMATS: Final = 11
_SIGNATURE_ALGORITHMS: Final = 13
_SUPPORTED_VERSIONS: Final = 43


def hello_of(session: Session) -> ClientHello | None:
    """The hello of a client whose TLS ends here, parsed once a connection; None when there was none."""
    if session.hello is None and session.handshake is not None:
        session.hello = session.handshake.hello
    return session.hello


def of_hello(answer: Callable[[ClientHello], Value]) -> Run:
    """A fetch of the hello."""

    def run(stream: Stream) -> Value:
        session = stream.session
        if session.tls is None and session.unfinished is None:
            return None
        hello = hello_of(session)
        return None if hello is None else answer(hello)

    return run


def words(numbers: Sequence[int]) -> bytes | None:
    """16-bit numbers as they stand on the wire; None for none."""
    return b"".join([number.to_bytes(2, "big") for number in numbers]) or None


def _of_extension(kind: int, list_: Callable[[ClientHello], Sequence[int]]) -> Offer:
    return lambda hello: words(list_(hello)) if kind in hello.extensions else None


def _ciphers(hello: ClientHello) -> bytes | None:
    return words(hello.ciphers)


def _extensions(hello: ClientHello) -> bytes | None:
    return words(hello.extensions)


_groups: Final = _of_extension(_SUPPORTED_GROUPS, lambda hello: hello.groups)
_algorithms: Final = _of_extension(_SIGNATURE_ALGORITHMS, lambda hello: hello.signature_algorithms)
_versions: Final = _of_extension(_SUPPORTED_VERSIONS, lambda hello: hello.versions)


def _point_formats(hello: ClientHello) -> bytes | None:
    return bytes(hello.point_formats) if _POINT_FORMATS in hello.extensions else None


#: The order in which the lists share the buffer.
_SHARING: Final[tuple[Offer, ...]] = (_ciphers, _extensions, _groups, _point_formats, _algorithms, _versions)


def _captured(offer: Offer, size: int | None) -> Offer:
    """What of a list fits into `tune.ssl.capture-buffer-size` behind the lists before it."""
    if size is None:
        return offer
    before = _SHARING[: _SHARING.index(offer)]

    def captured(hello: ClientHello) -> bytes | None:
        room = size
        for one in before:
            room -= len(one(hello) or b"")
        found = offer(hello)
        return None if found is None or room <= 0 else found[:room]

    return captured


def _without_grease(data: bytes) -> bytes:
    """A list of 16-bit values without those of RFC 8701; of half a value at the end nothing is known."""
    pairs = (data[at : at + 2] for at in range(0, len(data), 2))
    return b"".join([pair for pair in pairs if not (len(pair) == 2 and pair[0] == pair[1] and pair[0] & 0x0F == 0x0A)])


def _filtered(offer: Offer, scope: Scope, filter_option: int | None) -> Offer:
    if filter_option not in (None, 0, 1):
        raise config_error(
            f"the filter option can't be {filter_option}", None,
            remedy="0 for the full list, 1 for the list without GREASE (RFC 8701)",
        )
    captured = _captured(offer, scope.config.global_.tls_capture_size)
    if not filter_option:
        return captured

    def filtered(hello: ClientHello) -> bytes | None:
        found = captured(hello)
        return None if found is None else _without_grease(found) or None

    return filtered


def _list(name: str, offer: Offer) -> None:
    """`ssl_fc_..._bin([filter option])`."""

    @fetch(name, result=Type.BIN, places=SESSION, required=0, arguments=(Argument.INTEGER,))
    def compile_list(scope: Scope, filter_option: int | None) -> Run:
        return of_hello(_filtered(offer, scope, filter_option))


_list("ssl_fc_cipherlist_bin", _ciphers)
_list("ssl_fc_extlist_bin", _extensions)
_list("ssl_fc_eclist_bin", _groups)
_list("ssl_fc_sigalgs_bin", _algorithms)
_list("ssl_fc_supported_versions_bin", _versions)


@fetch("ssl_fc_ecformats_bin", result=Type.BIN, places=SESSION)
def ecformats(scope: Scope) -> Run:
    return of_hello(_captured(_point_formats, scope.config.global_.tls_capture_size))


@fetch("ssl_fc_cipherlist_hex", result=Type.STR, places=SESSION, required=0, arguments=(Argument.INTEGER,))
def cipherlist_hex(scope: Scope, filter_option: int | None) -> Run:
    offer = _filtered(_ciphers, scope, filter_option)

    def in_digits(hello: ClientHello) -> Value:
        found = offer(hello)
        return None if found is None else found.hex().upper().encode()

    return of_hello(in_digits)


@fetch("ssl_fc_cipherlist_str", result=Type.STR, places=SESSION, required=0, arguments=(Argument.INTEGER,))
def cipherlist_str(scope: Scope, filter_option: int | None) -> Run:
    offer = _filtered(_ciphers, scope, filter_option)

    def run(stream: Stream) -> Value:
        session = stream.session
        tls = session.tls or session.unfinished
        hello = None if tls is None else hello_of(session)
        found = None if hello is None else offer(hello)
        if found is None or tls is None:
            return None
        numbers = [int.from_bytes(found[at : at + 2], "big") for at in range(0, len(found) - 1, 2)]
        # OpenSSL's names, and what HAProxy writes for those that its library does not know.
        return ",".join([tls.cipher_name(number) or f"UNKNOWN({number:04x})" for number in numbers]).encode()

    return run


@fetch("ssl_fc_cipherlist_xxh", result=Type.SINT, places=SESSION)
def cipherlist_xxh(scope: Scope) -> Run:
    size = scope.config.global_.tls_capture_size
    if size == 0:
        return of_hello(lambda hello: None)

    def hashed(hello: ClientHello) -> Value:
        import xxhash

        number = xxhash.xxh64_intdigest(words(hello.ciphers) or b"")
        return number - (1 << 64) if number >> 63 else number

    return of_hello(hashed)


@fetch("ssl_fc_protocol_hello_id", result=Type.SINT, places=SESSION)
def protocol_hello_id(scope: Scope) -> Run:
    size = scope.config.global_.tls_capture_size
    return of_hello(lambda hello: hello.legacy_version if size != 0 else None)


# --- our own ---------------------------------------------------------------------------------------------------------

#: Connections whose fingerprints are remembered: each of their requests asks again, and a hash costs what a whole request does.
_REMEMBERED: Final = 512


def _fingerprint(name: str, make: Callable[[ClientHello], str]) -> None:
    @lru_cache(maxsize=_REMEMBERED)  # by the object: a connection keeps its hello
    def remembered(hello: ClientHello) -> bytes:
        return make(hello).encode()

    plain(name, result=Type.STR, places=SESSION, run=of_hello(remembered))


_fingerprint("ssl_fc_ja3", ja3)
_fingerprint("ssl_fc_ja4", ja4)
