"""The TLS side of a server line: connections to a server, whose certificate is verified, with sessions that are resumed.

Called by the connector and by health checks. One context a server line; what differs by connection is the name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from OpenSSL import SSL

from headgate.base.diagnostics import Bug, ConfigError, Location, Report, config_error
from headgate.config.tls_options import ServerTls, Verify
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.installing import install
from headgate.tls.line_facts import LineFacts, ShownCertificate, group_names, shown
from headgate.tls.openssl import Handle, ffi, lib
from headgate.tls.pem import read_authorities, read_certified_key
from headgate.tls.policy import (
    SYSTEM_CA,
    enabled_versions,
    load_trust,
    new_context,
    set_algorithms,
    set_versions,
)
from headgate.tls.tuning import Tuning

#: Names whose latest session is kept for one server line; `sni` may come from requests, so the table needs an end.
SESSIONS_MOST = 256
#: What may be sent and verified as a name. Names can come from requests: one with a NUL in it, say, would be cut by OpenSSL and
#: verified as something else, so it becomes a name that no certificate is valid for (RFC 6761 section 6.4).
_NAME = re.compile(rb"[!-~]{1,253}")
_NOBODY = b"unusable-name.invalid"
#: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: `*.example` matches, `f*.example` does not (RFC 6125 section 6.4.3).
_NO_PARTIAL_WILDCARDS = 0x4


class ServerContext:
    """Makes the client side of TLS connections for one server line.

    Attributes:
        tls: the options it was built from.
    """

    __slots__ = ("_context", "_sessions", "_shown", "tls")

    def __init__(self, tls: ServerTls) -> None:
        context = new_context(SSL.TLS_CLIENT_METHOD)
        set_versions(context, tls.versions, tls.ciphers, tls.location)
        set_algorithms(context, tls.ciphers, tls.ciphersuites, tls.curves, tls.location)
        if not tls.tickets:
            context.set_options(SSL.OP_NO_TICKET)
        if tls.alpn:
            context.set_alpn_protos([one.encode("ascii") for one in tls.alpn])
        self._shown: tuple[ShownCertificate, ...] = ()
        if tls.certificate is not None:
            own = read_certified_key(tls.certificate, tls.location)
            install(context, (own,))
            self._shown = (shown(own),)
        if tls.verify is Verify.REQUIRED:
            ca_file = tls.ca_file or SYSTEM_CA
            load_trust(context, ca_file, () if ca_file == SYSTEM_CA else read_authorities(ca_file, tls.location))
        context.set_verify(SSL.VERIFY_PEER if tls.verify is Verify.REQUIRED else SSL.VERIFY_NONE)
        # Sessions are kept here by name; OpenSSL's own cache is of no use to clients.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_app_data(self)
        self.tls = tls
        self._context = context
        self._sessions: dict[bytes, Any] = {}

    def tune(self, tuning: Tuning) -> None:
        """Follow what the global section says about all contexts."""
        tuning.put_on(self._context)

    def handle(self, sock: socket.socket, sni: bytes | None) -> Handle:
        """What a channel drives; see `connection`."""
        return Handle(self.connection(sock, sni)._ssl, _usable(sni) or b"")

    def connection(self, sock: socket.socket, sni: bytes | None) -> SSL.Connection:
        """A connection over a connected, non-blocking socket, ready for its handshake.

        Args:
            sock: connected to the server.
            sni: the name to ask for (an IP address is not sent, RFC 6066 section 3); with `verify required` the server's
                certificate must be valid for it, or for `verifyhost` when there is none (manual 5.2 verify).
        """
        tls = self.tls
        connection = SSL.Connection(self._context, sock)
        connection.set_connect_state()
        sni = _usable(sni)
        if sni is not None and not _is_address(sni):
            connection.set_tlsext_host_name(sni)
        if tls.verify is Verify.REQUIRED:
            _expect_name(connection, sni if sni is not None else tls.verify_host.encode() if tls.verify_host else None)
        if tls.reuse:
            session = self._sessions.get(sni or b"")
            if session is not None and lib.SSL_set_session(connection._ssl, session) != 1:
                lib.ERR_clear_error()  # a full handshake, then
        return connection

    def remember(self, handle: Handle) -> None:
        """Keep the session of a connection; the next one for the same name resumes it."""
        if not self.tls.reuse:
            return
        pointer = lib.SSL_get1_session(handle.ssl)
        if not pointer:
            return
        session = ffi.gc(pointer, lib.SSL_SESSION_free)
        sessions = self._sessions
        name = handle.name
        sessions.pop(name, None)
        if len(sessions) >= SESSIONS_MOST:
            del sessions[next(iter(sessions))]
        sessions[name] = session

    def describe(self, record: HandshakeRecord) -> None:
        """Say in a handshake record what applied on our side."""
        tls = self.tls
        record.line = LineFacts(
            tls.location, tuple(enabled_versions(tls.versions)), group_names(tls.curves), tls.alpn, ca_file=tls.ca_file,
            verify_host=tls.verify_host or "", certificates=self._shown,
        )  # fmt: skip


def _usable(sni: bytes | None) -> bytes | None:
    """The name to ask for and to verify."""
    return sni if sni is None or _NAME.fullmatch(sni) else _NOBODY


def build_server_context(tls: ServerTls, report: Report) -> ServerContext | None:
    """Build the TLS side of a server line; files and options are checked now, not with the first request.

    Args:
        tls: the `ssl` options of the line.
        report: where errors go.

    Returns:
        The context, or None when something is wrong with it (`report` says what).
    """
    try:
        if tls.verify is Verify.REQUIRED and tls.ca_file is None:
            raise _no_ca(tls.location)
        unspoken = [one for one in tls.alpn if one == "h2"]
        if unspoken:
            raise config_error(
                "alpn h2: HTTP/2 to servers is not supported yet", tls.location, remedy="use alpn http/1.1, or none"
            )
        return ServerContext(tls)
    except ConfigError as error:
        report.add(error.diagnostic)
        return None


def _no_ca(location: Location | None) -> ConfigError:
    return config_error(
        "verify is enabled but there is no ca-file to verify the server's certificate with",
        location,
        remedy="add `ca-file FILE`, or `ca-file @system-ca` for public CAs, or `verify none` to trust anybody who answers",
    )


def _expect_name(connection: SSL.Connection, name: bytes | None) -> None:
    """Let verification check the server's certificate against a name or an address."""
    if not name:
        return
    param: Any = lib.SSL_get0_param(connection._ssl)
    if _is_address(name):
        packed = ipaddress.ip_address(name.decode("ascii")).packed
        accepted = lib.X509_VERIFY_PARAM_set1_ip(param, packed, len(packed))
    else:
        lib.X509_VERIFY_PARAM_set_hostflags(param, _NO_PARTIAL_WILDCARDS)
        accepted = lib.X509_VERIFY_PARAM_set1_host(param, name, len(name))
    if accepted != 1:
        raise Bug(f"OpenSSL takes no name to verify: {name!r}")  # going on would mean not to verify it


def _is_address(name: bytes) -> bool:
    try:
        ipaddress.ip_address(name.decode("ascii"))
    except ValueError:
        return False
    return True
