"""Certificates into OpenSSL contexts: leaf, key, chain, DH parameters, signed certificate timestamps.

Called by `server_context` when it builds a context, and by `bind_lines` for each certificate that it checks; by `client_context`.
"""

from __future__ import annotations

from cryptography import x509
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, config_error
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.ocsp.stapling import Staples
from headgate.tls.openssl import error_text, ffi, lib
from headgate.tls.timestamps import send_timestamps


def install(context: SSL.Context, certificates: tuple[CertifiedKey, ...], staples: Staples | None = None) -> None:
    """Put certificates with their keys and chains into a context; at most one of each kind of key.

    They share what a context has once: the chain and the signed certificate timestamps (`key_choice.alike`).

    Args:
        context: a new one.
        certificates: for it, the one first that most clients get: it is what a resumed connection is said to be of, in
            whose handshake OpenSSL chooses none.
        staples: what is stapled with them, None for nothing.

    Raises:
        ConfigError: OpenSSL refuses one.
    """
    sent: set[x509.Certificate] = set()
    for one in reversed(certificates):  # the last one that OpenSSL is given is its current one
        try:
            context.use_certificate(one.certificate)
            context.use_privatekey(one.key)
            context.check_privatekey()
            if staples is not None:
                staples.attach(context, one.leaf)
            for above in one.chain:
                if above not in sent:
                    sent.add(above)
                    context.add_extra_chain_cert(above)
        except SSL.Error as error:
            raise _refused(one, error_text(error)) from None
        if one.dh_parameters is not None:
            _set_dh_parameters(context, one)
    if certificates and certificates[0].sctl is not None:
        send_timestamps(context, certificates[0].sctl)


def check_acceptable(context: SSL.Context, one: CertifiedKey) -> None:
    """Find out whether OpenSSL takes a certificate: what it refuses (a weak key, say) must show at the start.

    That its key belongs to it was checked when it was read.

    Args:
        context: of the policy that it is to be used with; it is of no other use afterwards.
        one: the certificate.

    Raises:
        ConfigError: it refuses.
    """
    memory = lib.BIO_new_mem_buf(one.leaf, len(one.leaf))
    certificate = lib.d2i_X509_bio(memory, ffi.NULL)
    lib.BIO_free(memory)
    accepted = bool(certificate) and lib.SSL_CTX_use_certificate(context._context, certificate) == 1
    lib.X509_free(certificate)
    if not accepted:
        raise _refused(one, _queued_reason())
    if one.dh_parameters is not None:
        _set_dh_parameters(context, one)


def _refused(one: CertifiedKey, reason: str) -> ConfigError:
    return config_error(
        f"OpenSSL refuses the certificate in {one.path!r}: {reason}", one.location,
        remedy="a key of at least 2048 bits (RSA) or P-256 (ECDSA), signed with SHA-256 or better",
    )


def _queued_reason() -> str:
    """Why the last operation failed; the error queue is empty then."""
    reason = lib.ERR_reason_error_string(lib.ERR_get_error())
    lib.ERR_clear_error()
    return ffi.string(reason).decode("ascii", "replace") if reason else "OpenSSL does not say why"


def _set_dh_parameters(context: SSL.Context, one: CertifiedKey) -> None:
    data = one.dh_parameters or b""
    memory = lib.BIO_new_mem_buf(data, len(data))
    parameters = lib.PEM_read_bio_DHparams(memory, ffi.NULL, ffi.NULL, ffi.NULL)
    lib.BIO_free(memory)
    accepted = bool(parameters) and lib.SSL_CTX_set_tmp_dh(context._context, parameters) == 1
    lib.DH_free(parameters)
    if not accepted:
        raise config_error(
            f"OpenSSL refuses the DH parameters in {one.path!r}: {_queued_reason()}", one.location,
            remedy="remove them (ECDHE needs none), or make new ones: openssl dhparam 2048",
        )
