"""OpenSSL as the data plane calls it: the functions of the binding that pyOpenSSL's objects are made of, and its error queue.

pyOpenSSL raises an exception for "not yet", builds a buffer for each read and keeps each connection in a weak dictionary for its
callbacks. On the hot path that costs more than the record itself, so channel and callbacks use the same binding directly on an
`SSL*`, which a `Handle` owns. Nothing but `tls` and the TLS channel imports this.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from cryptography.hazmat.bindings import _rust
from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from headgate.base.records import dataclass

lib: Final[Any] = _lib
ffi: Final[Any] = _ffi

WANT_READ: Final[int] = lib.SSL_ERROR_WANT_READ
WANT_WRITE: Final[int] = lib.SSL_ERROR_WANT_WRITE
ZERO_RETURN: Final[int] = lib.SSL_ERROR_ZERO_RETURN
SYSCALL: Final[int] = lib.SSL_ERROR_SYSCALL

#: SSL_OP_PRIORITIZE_CHACHA and SSL_MODE_NO_AUTO_CHAIN of ssl.h, SSL_R_CERTIFICATE_VERIFY_FAILED of sslerr.h, which the binding
#: has no names for.
OP_PRIORITIZE_CHACHA: Final = 1 << 21
MODE_NO_AUTO_CHAIN: Final = 0x8
CERTIFICATE_VERIFY_FAILED: Final = 134

MODE: Final[int] = (
    lib.SSL_MODE_ENABLE_PARTIAL_WRITE  # keep what the kernel did not take, record by record
    | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER  # a retried write comes from our queue, not from the caller's bytes
    | lib.SSL_MODE_RELEASE_BUFFERS  # an idle connection holds no record buffers
    | MODE_NO_AUTO_CHAIN  # the chain is what the file holds, never CAs of ca-file
)

#: As if both sides had said close_notify (SSL_set_shutdown(3)).
CLOSED: Final[int] = lib.SSL_SENT_SHUTDOWN | lib.SSL_RECEIVED_SHUTDOWN

# Functions that connections call all the time, under their own names: compiled code has them at hand, where those of `lib` are
# looked up.
ERR_clear_error: Final = lib.ERR_clear_error
ERR_peek_error: Final = lib.ERR_peek_error
SSL_CIPHER_get_name: Final = lib.SSL_CIPHER_get_name
SSL_SESSION_free: Final = lib.SSL_SESSION_free
SSL_clear_mode: Final = lib.SSL_clear_mode
SSL_do_handshake: Final = lib.SSL_do_handshake
SSL_free: Final = lib.SSL_free
SSL_get0_alpn_selected: Final = lib.SSL_get0_alpn_selected
SSL_get0_group_name: Final = lib.SSL_get0_group_name
SSL_get1_session: Final = lib.SSL_get1_session
SSL_get_current_cipher: Final = lib.SSL_get_current_cipher
SSL_get_error: Final = lib.SSL_get_error
SSL_get_servername: Final = lib.SSL_get_servername
SSL_get_session: Final = lib.SSL_get_session
SSL_get_version: Final = lib.SSL_get_version
SSL_new: Final = lib.SSL_new
SSL_pending: Final = lib.SSL_pending
SSL_read: Final = lib.SSL_read
SSL_read_early_data: Final = lib.SSL_read_early_data
SSL_session_reused: Final = lib.SSL_session_reused
SSL_set1_curves_list: Final = lib.SSL_set1_curves_list
SSL_set_SSL_CTX: Final = lib.SSL_set_SSL_CTX
SSL_set_accept_state: Final = lib.SSL_set_accept_state
SSL_set_alpn_protos: Final = lib.SSL_set_alpn_protos
SSL_set_cert_cb: Final = lib.SSL_set_cert_cb
SSL_set_connect_state: Final = lib.SSL_set_connect_state
SSL_set_fd: Final = lib.SSL_set_fd
SSL_set_info_callback: Final = lib.SSL_set_info_callback
SSL_set_mode: Final = lib.SSL_set_mode
SSL_set_options: Final = lib.SSL_set_options
SSL_set_session: Final = lib.SSL_set_session
SSL_set_shutdown: Final = lib.SSL_set_shutdown
SSL_set_tlsext_host_name: Final = lib.SSL_set_tlsext_host_name
SSL_shutdown: Final = lib.SSL_shutdown
SSL_version: Final = lib.SSL_version
SSL_write: Final = lib.SSL_write
SSL_write_early_data: Final = lib.SSL_write_early_data
#: What a context calls for a server name where every name has the same answer: SSL_get_shutdown(3) answers 0 while a handshake
#: runs, which is SSL_TLSEXT_ERR_OK here, and there is no way through Python, which takes 5 us. Without any callback OpenSSL
#: would take the name as well, but not tell the client, nor keep it for sessions of TLS 1.2.
take_any_name: Final = ffi.cast("int (*)(SSL *, int *, void *)", ffi.addressof(_rust._openssl.lib, "SSL_get_shutdown"))
gc: Final = ffi.gc
string: Final = ffi.string
unpack: Final = ffi.unpack

#: Reasons at or above this are alerts that the peer sent (SSL_AD_REASON_OFFSET of ssl.h).
_ALERT_OFFSET: Final = 1000
#: SSL_R_RECORD_LAYER_FAILURE: what newer versions say behind each error of a record, and no reason of its own.
_RECORD_LAYER_FAILURE: Final = 313
#: Where an error code says which part of OpenSSL it is of (ERR_LIB_OFFSET of err.h), and the number of TLS (ERR_LIB_SSL).
_LIBRARY_SHIFT: Final = 23
_TLS_LIBRARY: Final = 20
_UNEXPECTED_EOF: Final[int] = lib.SSL_R_UNEXPECTED_EOF_WHILE_READING


class Handle:
    """One connection of OpenSSL's, before a channel drives it.

    Attributes:
        ssl: the `SSL*`; freed with the last reference to it, whoever holds that.
        name: under which its context keeps its session; clients only.
    """

    __slots__ = ("name", "ssl")

    def __init__(self, ssl: Any, name: bytes = b"") -> None:
        self.ssl = ssl
        self.name = name


def clear_errors() -> None:
    """Have the error queue empty for a call whose outcome it tells. It nearly always is: to look costs half of emptying it."""
    if ERR_peek_error():
        ERR_clear_error()


def new_ssl(context: Any, fd: int) -> Any:
    """An `SSL*` of the `SSL_CTX*` given, on a descriptor.

    Raises:
        MemoryError: OpenSSL could not make it.
    """
    ssl = SSL_new(context)
    if ssl:
        ssl = gc(ssl, SSL_free)
        if SSL_set_fd(ssl, fd) == 1:
            return ssl
    ERR_clear_error()
    raise MemoryError("OpenSSL has no memory for another connection")


def address_of(ssl: Any) -> int:
    """Names a connection in a table. Another one may have the address later: whoever keeps such a table empties it in time."""
    return int(ffi.cast("uintptr_t", ssl))


def encoded_certificate(pointer: Any) -> bytes | None:
    """An `X509*` in DER; None when OpenSSL can't write it."""
    memory = lib.BIO_new(lib.BIO_s_mem())
    try:
        if lib.i2d_X509_bio(memory, pointer) != 1:
            ERR_clear_error()
            return None
        data = ffi.new("char **")
        size = lib.BIO_get_mem_data(memory, data)
        return bytes(ffi.buffer(data[0], size)[:])
    finally:
        # Not by `ffi.gc`: a local variable that nobody uses any more may go before its function ends, when that is compiled.
        lib.BIO_free(memory)


@dataclass(frozen=True, slots=True)
class TlsError:
    """What ended a TLS operation.

    Attributes:
        text: OpenSSL's reason, or the system's error text.
        number: the reason code of OpenSSL's TLS part, 0 when it was another part, or the system.
        errno: the system's error number, 0 when it was OpenSSL.
        eof: the peer closed the connection without close_notify.
        alert: number of the alert that the peer sent, None when it was not an alert.
        code: OpenSSL's packed code of the last error in its queue, as `openssl errstr` takes it; 0 for none, and for a peer
            that merely left.
    """

    text: str
    number: int = 0
    errno: int = 0
    eof: bool = False
    alert: int | None = None
    code: int = 0


def take_error(kind: int, system_error: int) -> TlsError:
    """Describe a failed operation and empty the error queue.

    Args:
        kind: what SSL_get_error said: SYSCALL or SSL_ERROR_SSL.
        system_error: `ffi.errno` right after the operation.
    """
    first = last = lib.ERR_get_error()
    while following := lib.ERR_get_error():
        if lib.ERR_GET_REASON(following) != _RECORD_LAYER_FAILURE:
            last = following
            if not _is_of_tls(first):
                first = following  # what a cipher or a signature failed of comes before what that means for TLS
    if kind == SYSCALL and system_error:
        # OpenSSL may have queued the same system error: then it has no reason text.
        return system_failure(system_error)
    if not first:
        return TlsError("connection closed by the peer", eof=True)
    number = lib.ERR_GET_REASON(first) if _is_of_tls(first) else 0
    if number == _UNEXPECTED_EOF:
        return TlsError("connection closed by the peer", number, eof=True)
    reason = lib.ERR_reason_error_string(first)
    text = ffi.string(reason).decode("ascii", "replace") if reason else f"OpenSSL error {first:#x}"
    alert = number - _ALERT_OFFSET if _ALERT_OFFSET <= number < _ALERT_OFFSET + 256 else None
    return TlsError(text, number, alert=alert, code=last)


def system_failure(number: int) -> TlsError:
    """What an error of the system ends: its number."""
    return TlsError(_system_text(number), errno=number)


def _is_of_tls(code: int) -> bool:
    return code >> _LIBRARY_SHIFT == _TLS_LIBRARY


def error_string(code: int) -> str:
    """OpenSSL's packed code in its words: `error:0A0000C1:SSL routines::no shared cipher`, as `openssl errstr` prints it."""
    library, reason = lib.ERR_lib_error_string(code), lib.ERR_reason_error_string(code)
    names = [
        ffi.string(words).decode("ascii", "replace") if words else unnamed
        for words, unnamed in ((library, f"lib({code >> _LIBRARY_SHIFT & 0xFF})"), (reason, f"reason({code & 0x7FFFFF})"))
    ]
    return f"error:{code:08X}:{names[0]}::{names[1]}"


def verify_error_text(number: int) -> str:
    """OpenSSL's words for what is wrong with a certificate: `CRL signature failure` for 8 (X509_verify_cert_error_string(3))."""
    return str(ffi.string(lib.X509_verify_cert_error_string(number)).decode("ascii", "replace"))


def _system_text(number: int) -> str:
    return os.strerror(number).lower() if number in errno.errorcode else f"system error {number}"


def error_text(error: SSL.Error) -> str:
    """The reasons in a pyOpenSSL exception, as one line for a message to the operator."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(entry[2] for entry in queue if entry[2]) or "OpenSSL does not say why"
