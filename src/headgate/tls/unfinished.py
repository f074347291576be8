"""A certificate of which parts may be missing, as a transaction of the runtime API has it, and the parts that come one by one.

Pure: texts in, errors out. `transactions` asks here before it takes a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headgate.base.diagnostics import config_error
from headgate.base.records import dataclass
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.certified_key import IssuerChains, chain_among, signer_among
from headgate.tls.loading import check_timestamps
from headgate.tls.ocsp.certificate_id import certificate_id
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.response import check_response, subject_of
from headgate.tls.pem import authorities_of, check_private_key, leaf_of


class Unfinished:
    """The certificate.

    Args:
        name: of its file.
        pem: certificate and chain, with the key or not.
        issuer: PEM of its issuer in a file of its own, b"" for none.
        issuers: the chains of `issuers-chain-path`.

    Attributes:
        certificate: the one that the key belongs to, the first one as long as there is none.
        chain: what is sent with it.
        signer: who has issued it, None as long as that is not known.

    Raises:
        ConfigError: there is no certificate yet.
    """

    def __init__(self, name: str, pem: bytes, issuer: bytes, issuers: IssuerChains | None) -> None:
        if b"CERTIFICATE-----" not in pem:
            raise config_error(f"there is no certificate for {name!r} yet: set it first", None)
        self.certificate, others = leaf_of(name, None, pem)
        self.chain = chain_among(self.certificate, others, issuers)
        beside = authorities_of(f"{name}.issuer", None, issuer)[:1] if issuer else ()
        self.signer = signer_among(self.certificate, (*others, *beside), issuers)

    @property
    def response_key(self) -> str:
        """The CertID of its OCSP responses in hexadecimal digits, "" as long as the issuer is not known."""
        return certificate_id(self.certificate, self.signer).key if self.signer is not None else ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was set.

    Attributes:
        name: of its file, which is that of the certificate with a suffix.
        data: its contents.
        of: looks at the certificate that it is for, with the part itself.
        now: Unix time.
    """

    name: str
    data: bytes
    of: Callable[[], Unfinished]
    now: float


def _check_pem(part: Part) -> None:
    leaf_of(part.name, None, part.data)


def _check_key(part: Part) -> None:
    check_private_key(part.name, None, part.data)


def _check_issuer(part: Part) -> None:
    issuer = authorities_of(part.name, None, part.data)[0]
    if signer_among(part.of().certificate, (issuer,), None) is None:
        subject = readable(issuer.subject)[:200]
        raise config_error(f"the certificate in {part.name!r} ({subject}) has not issued this one", None)


def _check_response(part: Part) -> None:
    one = part.of()
    if one.signer is None:
        issuer = f"{part.name.removesuffix('.ocsp')}.issuer"
        raise config_error(f"{part.name!r} can't be checked: the issuer is not known; set it first, as {issuer!r}", None)
    try:
        check_response(part.data, subject_of(one.certificate, one.signer), part.now)
    except Failure as failure:
        raise config_error(f"{part.name!r} can't be stapled: {failure.text}", None) from None


def _check_timestamps(part: Part) -> None:
    check_timestamps(part.name, None, part.data)


#: By suffix; each raises ConfigError for what is of no use.
CHECKS: Mapping[str, Callable[[Part], None]] = {
    "": _check_pem, ".key": _check_key, ".issuer": _check_issuer, ".ocsp": _check_response, ".sctl": _check_timestamps,
}  # fmt: skip
