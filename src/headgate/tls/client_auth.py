"""Client certificates on a bind line: which CAs are trusted, which are named to the client, what is revoked, what is forgiven.

`ca-file`, `ca-verify-file`, `no-ca-names`, `crl-file`, `ca-ignore-err`, `crt-ignore-err` and `verify` (manual 5.1) become one
`ClientAuth`, which is put on each context of the line that asks for the same. Its verify callback notes what it met as `Findings`
of the connection, also what it forgave: fetches and handshake records read them from there.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL, crypto

from headgate.base.records import dataclass
from headgate.config.client_auth import IgnoredErrors
from headgate.config.tls_options import BindPolicy, BindTls, Verify
from headgate.tls.openssl import address_of, encoded_certificate, ffi, lib
from headgate.tls.policy import SYSTEM_CA, share_trust
from headgate.tls.revocation import add_revocations, check_revocations
from headgate.tls.storage import AuthoritiesEntry, Entry, RevocationsEntry, Storage

_MODES: Final = {
    Verify.NONE: SSL.VERIFY_NONE,
    Verify.OPTIONAL: SSL.VERIFY_PEER,
    Verify.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
_ssl_index: Final[int] = lib.SSL_get_ex_data_X509_STORE_CTX_idx()


class ClientAuth:
    """What a bind line (or a line of a crt-list) wants of client certificates, ready to be put on contexts.

    Args:
        policy: what the line says.
        tls: the bind line, for the errors that it ignores.
        storage: has the files.

    Attributes:
        digest: equal for equal policies only: goes into the session id context. New CAs and lists end old sessions with it.
        entries: of the storage that it was made of.

    Raises:
        ConfigError: a file can't be used.
    """

    __slots__ = ("_callback", "_mode", "_named", "_trust", "digest", "entries")

    def __init__(self, policy: BindPolicy, tls: BindTls, storage: Storage) -> None:
        self.digest = hashlib.sha256(b"none").digest()
        # Also where nothing is verified: a file that can't be loaded is an error in any case, as it is in HAProxy.
        authorities = {
            path: storage.authority(path, tls.written.of(option)) for option, path in policy.authority_files if path != SYSTEM_CA
        }
        lists = storage.revocation(policy.crl_file, tls.written.of("crl-file")) if policy.crl_file is not None else None
        self.entries: list[Entry[Any]] = [*authorities.values()]
        if lists is not None:
            self.entries.append(lists)
        self._mode = _MODES[policy.verify]
        self._trust: SSL.Context | None = None
        self._named: tuple[x509.Certificate, ...] = ()
        self._callback: Any = ffi.NULL
        if policy.verify is not Verify.NONE:
            self._load(policy, tls, authorities, lists)
            self._callback = _judge(tls.crt_ignore_err, tls.ca_ignore_err)

    def put_on(self, context: SSL.Context) -> None:
        """Let a context ask for client certificates, or not."""
        lib.SSL_CTX_set_verify(context._context, self._mode, self._callback)
        if self._trust is not None:
            share_trust(self._trust, context)
        for one in self._named:
            context.add_client_ca(one)

    def put_on_connection(self, ssl: Any) -> None:
        """The same for a connection that was created from another context than the one it is switched to."""
        lib.SSL_set_verify(ssl, self._mode, self._callback)

    def _load(
        self, policy: BindPolicy, tls: BindTls, authorities: dict[str, AuthoritiesEntry], lists: RevocationsEntry | None
    ) -> None:
        """Put what the files hold into a store of trust that all contexts share, and sum it up."""
        # A context of its own is the binding's only way to the system's CAs.
        trust = self._trust = SSL.Context(SSL.TLS_SERVER_METHOD)
        store = lib.SSL_CTX_get_cert_store(trust._context)
        digest = hashlib.sha256(f"{policy.verify.value} {tls.ca_ignore_err} {tls.crt_ignore_err}".encode())
        anchors: list[x509.Certificate] = []
        for _, path in policy.authority_files:
            if path == SYSTEM_CA:
                trust.set_default_verify_paths()
                digest.update(SYSTEM_CA.encode())
            else:
                anchors += authorities[path].contents
                if path == policy.ca_file and not policy.no_ca_names:
                    self._named = authorities[path].contents
        for one in dict.fromkeys(anchors):
            lib.X509_STORE_add_cert(store, crypto.X509.from_cryptography(one)._x509)
            digest.update(one.fingerprint(SHA256()))
        if lists is not None:
            add_revocations(store, lists.contents)
            check_revocations(store)
            for revocation in lists.contents:
                digest.update(revocation.fingerprint(SHA256()))
        self.digest = digest.digest()


@cache
def _judge(crt_ignored: IgnoredErrors, ca_ignored: IgnoredErrors) -> Any:
    """OpenSSL's verify callback, called for each certificate from the root down to the leaf, and for each error.

    Kept for ever: contexts that are no longer in use here may still be in that of a handshake.
    """

    def judge(fine: int, store: Any) -> int:
        if fine:
            return 1
        number = lib.X509_STORE_CTX_get_error(store)
        depth = lib.X509_STORE_CTX_get_error_depth(store)
        ignored = (ca_ignored if depth else crt_ignored).covers(number)
        ssl = lib.X509_STORE_CTX_get_ex_data(store, _ssl_index)
        findings = _found.setdefault(address_of(ssl), Findings())
        if findings.leaf is None:
            findings.leaf = encoded_certificate(lib.X509_STORE_CTX_get0_cert(store))
        findings.note(number, depth, ignored, lib.X509_STORE_CTX_get_current_cert(store))
        return 1 if ignored else 0

    return ffi.callback("int (*)(int, X509_STORE_CTX *)", judge, error=0)


@dataclass(slots=True)
class Findings:
    """What was wrong with a peer's certificates, in one handshake.

    Attributes:
        error: number of the first error at depth 0, the peer's own certificate; 0 for none (`ssl_c_err`).
        ca_error: the same for the CAs above it (`ssl_c_ca_err`).
        ca_depth: where that was, 0 without one (`ssl_c_ca_err_depth`).
        fatal: number of the error that ended the handshake; 0 when all were ignored.
        depth: where that was.
        certificate: the certificate that `fatal` is about, DER; None without one.
        leaf: the peer's own certificate, DER, when there is anything to say: OpenSSL forgets it when the handshake fails.
    """

    error: int = 0
    ca_error: int = 0
    ca_depth: int = 0
    fatal: int = 0
    depth: int = 0
    certificate: bytes | None = None
    leaf: bytes | None = None

    def note(self, number: int, depth: int, ignored: bool, pointer: Any) -> None:
        """Take one error in; `pointer` is the certificate concerned, or NULL."""
        if depth:
            if not self.ca_error:
                self.ca_error, self.ca_depth = number, depth
        elif not self.error:
            self.error = number
        if not ignored:
            self.fatal, self.depth = number, depth
            self.certificate = encoded_certificate(pointer) if pointer else None


#: Of connections in their handshake whose peers' certificates were not faultless, by the address of their `SSL`. Such an
#: address is used again: `forget_findings` must be called before a connection is freed.
_found: Final[dict[int, Findings]] = {}


#: Of connections whose peers' certificates were faultless, or were never verified.
NOTHING_FOUND: Final = Findings()


def findings_of(ssl: Any) -> Findings:
    """What the verification of a connection's peer has met so far."""
    return _found.get(address_of(ssl), NOTHING_FOUND) if _found else NOTHING_FOUND


def forget_findings(ssl: Any) -> None:
    """The connection is about to go, or its findings are kept elsewhere."""
    if _found:
        _found.pop(address_of(ssl), None)
