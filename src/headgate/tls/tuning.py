"""What the global section says about every TLS context of the process (manual 3.1, 3.2): DHE, key log, certificate compression.

Made once by `app.prepare`, put on contexts by `server_context`.
"""

from __future__ import annotations

import contextlib

from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from headgate.base.records import dataclass
from headgate.tls.certified_key import PrivateKey
from headgate.tls.dh_parameters import predefined_parameters, set_dh_parameters
from headgate.tls.key_log import keep_secrets

#: SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_CERTIFICATE_COMPRESSION of ssl.h.
_NO_CERTIFICATE_COMPRESSION = 3 << 32


@dataclass(frozen=True, slots=True)
class Tuning:
    """Options for contexts.

    Attributes:
        dh_parameters: of `ssl-dh-param-file`, PEM; None without.
        dh_most: `tune.ssl.default-dh-param`, bits; 0: no DHE without parameters of one's own.
        keylog: `tune.ssl.keylog on`.
        certificate_compression: `tune.ssl.certificate-compression auto`.
    """

    dh_parameters: bytes | None = None
    dh_most: int = 0
    keylog: bool = False
    certificate_compression: bool = True

    def put_on(self, context: SSL.Context) -> None:
        """Set what holds for every context."""
        if self.keylog:
            keep_secrets(context)
        if not self.certificate_compression:
            context.set_options(_NO_CERTIFICATE_COMPRESSION)

    @property
    def offers_dhe(self) -> bool:
        """Whether there are DH parameters for certificates whose file has none."""
        return self.dh_parameters is not None or self.dh_most > 0

    def offer_dhe(self, context: SSL.Context, key: PrivateKey, ciphers: str | None) -> None:
        """Let a server's context offer DHE where the configuration wants that, or take it out of `ciphers`.

        For certificates whose file has no parameters. OpenSSL would offer DHE without any, with the groups of RFC 7919.
        """
        if self.dh_parameters is not None:
            set_dh_parameters(context, self.dh_parameters)
        elif self.dh_most:
            bits = key.key_size if isinstance(key, rsa.RSAPrivateKey) else 0
            set_dh_parameters(context, predefined_parameters(self.dh_most, bits))
        else:
            with contextlib.suppress(SSL.Error):  # nothing else is left of the list: then it is wanted
                context.set_cipher_list(f"{ciphers or 'DEFAULT'}:!kDHE".encode())


#: Where the global section says nothing.
UNTUNED = Tuning()
