"""Why a connection failed: numbers, names and words of `fc_err`, `bc_err` and their kin (manual 7.3.3, fc_err_str)."""

from __future__ import annotations

import enum
import errno


class ConnectionFailure(enum.Enum):
    """One row of the manual's table: (id, message)."""

    CONF_FDLIM = (1, "Reached configured maxconn value")
    PROC_FDLIM = (2, "Too many sockets on the process")
    SYS_FDLIM = (3, "Too many sockets on the system")
    SYS_MEMLIM = (4, "Out of system buffers")
    NOPROTO = (5, "Protocol or address family not supported")
    SOCK_ERR = (6, "General socket error")
    PORT_RANGE = (7, "Source port range exhausted")
    CANT_BIND = (8, "Can't bind to source address")
    FREE_PORTS = (9, "Out of local source ports on the system")
    ADDR_INUSE = (10, "Local source address already in use")
    PRX_EMPTY = (11, "Connection closed while waiting for PROXY protocol header")
    PRX_ABORT = (12, "Connection error while waiting for PROXY protocol header")
    PRX_TIMEOUT = (13, "Timeout while waiting for PROXY protocol header")
    PRX_TRUNCATED = (14, "Truncated PROXY protocol header received")
    PRX_NOT_HDR = (15, "Received something which does not look like a PROXY protocol header")
    PRX_BAD_HDR = (16, "Received an invalid PROXY protocol header")
    PRX_BAD_PROTO = (17, "Received an unhandled protocol in the PROXY protocol header")
    CIP_EMPTY = (18, "Connection closed while waiting for NetScaler Client IP header")
    CIP_ABORT = (19, "Connection error while waiting for NetScaler Client IP header")
    CIP_TIMEOUT = (20, "Timeout while waiting for a NetScaler Client IP header")
    CIP_TRUNCATED = (21, "Truncated NetScaler Client IP header received")
    CIP_BAD_MAGIC = (22, "Received an invalid NetScaler Client IP magic number")
    CIP_BAD_PROTO = (23, "Received an unhandled protocol in the NetScaler Client IP header")
    SSL_EMPTY = (24, "Connection closed during SSL handshake")
    SSL_ABORT = (25, "Connection error during SSL handshake")
    SSL_TIMEOUT = (26, "Timeout during SSL handshake")
    SSL_TOO_MANY = (27, "Too many SSL connections")
    SSL_NO_MEM = (28, "Out of memory when initializing an SSL connection")
    SSL_RENEG = (29, "Rejected a client-initiated SSL renegotiation attempt")
    SSL_CA_FAIL = (30, "SSL client CA chain cannot be verified")
    SSL_CRT_FAIL = (31, "SSL client certificate not trusted")
    SSL_MISMATCH = (32, "Server presented an SSL certificate different from the configured one")
    SSL_MISMATCH_SNI = (33, "Server presented an SSL certificate different from the expected one")
    SSL_HANDSHAKE = (34, "SSL handshake failure")
    SSL_HANDSHAKE_HB = (35, "SSL handshake failure after heartbeat")
    SSL_KILLED_HB = (36, "Stopped a TLSv1 heartbeat attack (CVE-2014-0160)")
    SSL_NO_TARGET = (37, "Attempt to use SSL on an unknown target (internal error)")
    SSL_EARLY_FAILED = (38, "Server refused early data")
    SOCKS4_SEND = (39, "SOCKS4 Proxy write error during handshake")
    SOCKS4_RECV = (40, "SOCKS4 Proxy read error during handshake")
    SOCKS4_DENY = (41, "SOCKS4 Proxy deny the request")
    SOCKS4_ABORT = (42, "SOCKS4 Proxy handshake aborted by server")
    SSL_FATAL = (43, "SSL fatal error")
    REVERSE = (44, "Reverse connect failure")
    POLLERR = (45, "Poller reported POLLERR")
    EREFUSED = (46, "ECONNREFUSED returned by OS")
    ERESET = (47, "ECONNRESET returned by OS")
    EUNREACH = (48, "ENETUNREACH returned by OS")
    ENOMEM = (49, "ENOMEM returned by OS")
    EBADF = (50, "EBADF returned by OS")
    EFAULT = (51, "EFAULT returned by OS")
    EINVAL = (52, "EINVAL returned by OS")
    ENCONN = (53, "ENCONN returned by OS")
    ENSOCK = (54, "ENSOCK returned by OS")
    ENOBUFS = (55, "ENOBUFS returned by OS")
    EPIPE = (56, "EPIPE returned by OS")

    def __init__(self, number: int, message: str) -> None:
        self.number = number
        self.message = message


SUCCESS = "Success"
_BY_NUMBER = {failure.number: failure for failure in ConnectionFailure}

_BY_ERRNO = {
    errno.EPROTONOSUPPORT: ConnectionFailure.NOPROTO, errno.EAFNOSUPPORT: ConnectionFailure.NOPROTO,
    errno.ESOCKTNOSUPPORT: ConnectionFailure.NOPROTO,
    errno.EMFILE: ConnectionFailure.PROC_FDLIM, errno.ENFILE: ConnectionFailure.SYS_FDLIM,
    errno.EADDRINUSE: ConnectionFailure.ADDR_INUSE, errno.EADDRNOTAVAIL: ConnectionFailure.FREE_PORTS,
    errno.EAGAIN: ConnectionFailure.FREE_PORTS, errno.EACCES: ConnectionFailure.CANT_BIND,
    errno.ECONNREFUSED: ConnectionFailure.EREFUSED, errno.ECONNRESET: ConnectionFailure.ERESET,
    errno.ENETUNREACH: ConnectionFailure.EUNREACH, errno.EHOSTUNREACH: ConnectionFailure.EUNREACH,
    errno.ENOMEM: ConnectionFailure.ENOMEM, errno.EBADF: ConnectionFailure.EBADF, errno.EFAULT: ConnectionFailure.EFAULT,
    errno.EINVAL: ConnectionFailure.EINVAL, errno.ENOTCONN: ConnectionFailure.ENCONN, errno.ENOTSOCK: ConnectionFailure.ENSOCK,
    errno.ENOBUFS: ConnectionFailure.ENOBUFS, errno.EPIPE: ConnectionFailure.EPIPE,
}  # fmt: skip


def by_number(number: int) -> ConnectionFailure | None:
    """The row of a number, None for 0 (success) and for numbers that are not in the table."""
    return _BY_NUMBER.get(number)


def by_errno(number: int) -> ConnectionFailure:
    """What an error of the system is called; those without a row are general socket errors."""
    return _BY_ERRNO.get(number, ConnectionFailure.SOCK_ERR)
