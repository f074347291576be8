"""What bind and server lines have in common when they become OpenSSL contexts: versions, ciphers, curves, ALPN, CA files.

Options that the library can't follow are errors that say so, never ignored. Called by `server_context` and `client_context`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto

from headgate.base.diagnostics import ConfigError, config_error
from headgate.config.tls_options import TlsVersions
from headgate.config.version_limits import limits_in_words
from headgate.config.written_options import WrittenOptions, exclusion_of
from headgate.tls.algorithm_names import CURVES, SIGNATURES, unknown_name
from headgate.tls.cipher_names import refused_ciphers, refused_suites
from headgate.tls.line_facts import OLD_VERSIONS, VersionLimits, at_level_0
from headgate.tls.openssl import MODE, error_text, ffi, lib
from headgate.tls.unbound import Unreachable, function

#: The trusted CAs of the system (manual 5.2 ca-file).
SYSTEM_CA = "@system-ca"

_VERSIONS: dict[str, int] = {
    "TLSv1.0": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_EXCLUDE: dict[str, int] = {
    "TLSv1.0": SSL.OP_NO_TLSv1,
    "TLSv1.1": SSL.OP_NO_TLSv1_1,
    "TLSv1.2": SSL.OP_NO_TLSv1_2,
    "TLSv1.3": SSL.OP_NO_TLSv1_3,
}
#: SSL_CTRL_SET_CLIENT_SIGALGS_LIST of ssl.h.
_SET_CLIENT_SIGALGS_LIST = 102
#: Lowest version where nothing is said (manual 5.1 ssl-min-ver).
DEFAULT_LOWEST = "TLSv1.2"


def new_context(method: int) -> SSL.Context:
    """An empty context with what holds everywhere: no compression, no renegotiation, memory released when idle."""
    context = SSL.Context(method)
    set_common(context)
    return context


def set_common(context: SSL.Context) -> None:
    """What `new_context` sets, on a context that was made elsewhere."""
    context.set_options(SSL.OP_ALL | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(MODE)


def enabled_versions(versions: TlsVersions) -> list[str]:
    """The protocol versions that are left, oldest first.

    >>> enabled_versions(TlsVersions())
    ['TLSv1.2', 'TLSv1.3']
    """
    order = list(_VERSIONS)
    lowest = versions.lowest or DEFAULT_LOWEST
    # A highest version below the default lowest is an explicit wish for an old one: the manual calls that ambiguous, not wrong.
    if versions.lowest is None and versions.highest in order and order.index(versions.highest) < order.index(lowest):
        lowest = versions.highest
    start = 0 if lowest == "SSLv3" else order.index(lowest)
    end = len(order) if versions.highest is None else 0 if versions.highest == "SSLv3" else order.index(versions.highest) + 1
    return [one for one in order[start:end] if one not in versions.excluded]


def negotiable_versions(versions: TlsVersions, ciphers: str | None) -> list[str]:
    """Those of the enabled versions that OpenSSL's security level, which a cipher list may set, lets be negotiated.

    >>> negotiable_versions(TlsVersions("TLSv1.0"), None), negotiable_versions(TlsVersions("TLSv1.1"), "DEFAULT:@SECLEVEL=0")
    (['TLSv1.2', 'TLSv1.3'], ['TLSv1.1', 'TLSv1.2', 'TLSv1.3'])
    """
    enabled = enabled_versions(versions)
    return enabled if at_level_0(ciphers) else [one for one in enabled if one not in OLD_VERSIONS]


def version_limits(versions: TlsVersions, ciphers: str | None) -> VersionLimits:
    """What keeps versions out of a line, for those who explain it; not for lines that allow none."""
    span, negotiable = enabled_versions(replace(versions, excluded=frozenset())), negotiable_versions(versions, ciphers)
    too_weak = tuple(one for one in enabled_versions(versions) if one not in negotiable)
    return VersionLimits(span[0], span[-1], versions.excluded, too_weak)


def set_versions(context: SSL.Context, versions: TlsVersions, ciphers: str | None, written: WrittenOptions) -> None:
    """Apply `ssl-min-ver`, `ssl-max-ver`, `no-*` and `force-*`.

    Raises:
        ConfigError: no version is left, or only ones that the library no longer speaks.
    """
    if versions.highest == "SSLv3":
        raise config_error(
            "SSLv3 is not supported: the TLS library no longer contains it", written.of("ssl-max-ver", "SSLv3"),
            remedy="use ssl-min-ver TLSv1.2",
        )
    enabled = enabled_versions(versions)
    if not enabled:
        limits, place = limits_in_words(versions, written)
        message = "no TLS version is left enabled" + (f": {limits}" if limits else "")
        raise config_error(message, place, remedy="look at ssl-min-ver, ssl-max-ver and no-tlsv1*")
    if not negotiable_versions(versions, ciphers):
        place = written.of("ssl-max-ver", versions.highest or "")
        if versions.highest not in OLD_VERSIONS:  # then it is that what is newer was left out
            place = written.of(exclusion_of(list(_VERSIONS)[list(_VERSIONS).index(enabled[-1]) + 1]))
        raise config_error(
            f"{enabled[-1]} can't be negotiated at OpenSSL's security level", place,
            remedy="add `ciphers DEFAULT:@SECLEVEL=0` if you must serve such clients",
        )
    span_versions(context, (versions,))
    between = _EXCLUDE.keys() & versions.excluded
    if between:
        context.set_options(sum(_EXCLUDE[one] for one in between))


def span_versions(context: SSL.Context, several: Sequence[TlsVersions]) -> None:
    """Let a context speak all that any of `several` allows; what one of them forbids is up to the connection (`version_mask`)."""
    order = list(_VERSIONS)
    numbers = [order.index(one) for versions in several for one in enabled_versions(versions)]
    context.set_min_proto_version(_VERSIONS[order[min(numbers)]])
    context.set_max_proto_version(_VERSIONS[order[max(numbers)]])


def version_mask(versions: TlsVersions) -> int:
    """The `SSL_OP_NO_*` of what is not enabled."""
    enabled = enabled_versions(versions)
    return sum(bit for one, bit in _EXCLUDE.items() if one not in enabled)


def set_algorithms(
    context: SSL.Context,
    ciphers: str | None,
    ciphersuites: str | None,
    curves: str | None,
    written: WrittenOptions,
    *,
    sigalgs: str | None = None,
    client_sigalgs: str | None = None,
) -> None:
    """Apply `ciphers` (up to TLS 1.2), `ciphersuites` (TLS 1.3), `curves`, `sigalgs` and `client-sigalgs`.

    Raises:
        ConfigError: OpenSSL knows none of what is listed, or can't be told it.
    """
    if ciphers is not None:
        _checked(context.set_cipher_list, ciphers, written, refused_ciphers)
    if ciphersuites is not None:
        _checked(context.set_tls13_ciphersuites, ciphersuites, written, refused_suites)
    if curves is not None:
        _known(lib.SSL_CTX_set1_curves_list, context, "curves", curves, written, CURVES)
    if sigalgs is not None:
        _known(lib.SSL_CTX_set1_sigalgs_list, context, "sigalgs", sigalgs, written, SIGNATURES)
    if client_sigalgs is not None:
        _known(_client_sigalgs(written), context, "client-sigalgs", client_sigalgs, written, SIGNATURES)


def _client_sigalgs(written: WrittenOptions) -> Callable[[Any, bytes], int]:
    """SSL_CTX_set1_client_sigalgs_list(3), which is a macro."""
    try:
        control = function("SSL_CTX_ctrl")
    except Unreachable as why:
        word, place = written.word("client-sigalgs"), written.of("client-sigalgs")
        raise config_error(f"'{word}' can't be followed: {why}", place, remedy="leave it out") from None
    return lambda context, names: int(control(context, _SET_CLIENT_SIGALGS_LIST, 0, ffi.new("char[]", names)))


def _known(setter: Any, context: SSL.Context, option: str, value: str, written: WrittenOptions, known: tuple[str, ...]) -> None:
    """Set a list of names that OpenSSL refuses as a whole when it does not know one of them."""

    def takes(names: bytes) -> bool:
        accepted: bool = setter(context._context, names) == 1
        lib.ERR_clear_error()
        return accepted

    if not takes(value.encode("utf-8")):
        raise unknown_name(option, value, written, known, takes)


def _checked(
    setter: Any, value: str, written: WrittenOptions, refused: Callable[[str, WrittenOptions, str], ConfigError]
) -> None:
    """Set a list of names that OpenSSL refuses only when nothing is left of it."""
    try:
        setter(value.encode("utf-8"))
    except SSL.Error as error:
        raise refused(value, written, error_text(error)) from None


def load_trust(context: SSL.Context, ca_file: str, authorities: Sequence[x509.Certificate]) -> None:
    """Let a context trust the CAs of a `ca-file` (`authorities`, read by the storage), or the system's for @system-ca."""
    if ca_file == SYSTEM_CA:
        context.set_default_verify_paths()
        return
    store = context.get_cert_store()
    assert store is not None
    for one in authorities:
        store.add_cert(crypto.X509.from_cryptography(one))


def share_trust(source: SSL.Context, target: SSL.Context) -> None:
    """Let `target` trust what `source` trusts, without a second copy of the CAs."""
    store = lib.SSL_CTX_get_cert_store(source._context)
    lib.X509_STORE_up_ref(store)
    lib.SSL_CTX_set_cert_store(target._context, store)


def alpn_wire(protocols: Sequence[str]) -> bytes:
    """A protocol list as it is sent: each name behind its length (RFC 7301 section 3.1)."""
    return b"".join(bytes([len(name)]) + name for name in (one.encode("ascii") for one in protocols))
