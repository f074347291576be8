"""How connections of checks fail, apart from what the socket says itself (OSError)."""


class LocalError(OSError):
    """The socket could not even be made or bound here: our system's fault, not the server's (SOCKERR)."""


class SocksFailure(OSError):
    """The SOCKS4 proxy did not connect us to the server."""


class TlsFailure(Exception):
    """The TLS layer failed; the text is OpenSSL's reason."""
