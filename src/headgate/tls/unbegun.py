"""Facts of connections to a TLS port that ended before their handshake began: there is nothing to ask OpenSSL for.

Implements `plan.facts.TlsFacts`. Apart from `tls.facts`, so that whoever meets such a connection does not load the TLS library.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.base.connection_errors import ConnectionFailure
from headgate.wire import tls_names

#: OpenSSL's word where there is no cipher suite yet.
NO_CIPHER = "(NONE)"


class UnbegunFacts:
    """Facts of a connection to a TLS port that ended before its handshake began."""

    __slots__ = ()

    established = early = early_received = False
    secrets = None
    error = 0
    failure = ConnectionFailure.SSL_EMPTY
    error_text = version = ""
    cipher = NO_CIPHER
    cipher_bits = cipher_algorithm_bits = 0
    group = sni = alpn = peer_certificate = root_certificate = own_certificate = own_certificate_name = None
    resumed = client_certificate_sent = False
    session_id = session_key = client_random = server_random = unique_id = b""
    peer_chain: Sequence[bytes] = ()
    verify_error = certificate_error = authority_error = authority_error_depth = 0

    def cipher_name(self, number: int) -> str:
        return tls_names.CIPHERS.get(number, "")


UNBEGUN = UnbegunFacts()
