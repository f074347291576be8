"""What speaks against a change of certificates, CA files and CRL files while running: it must not make things worse.

The one judgement of commits of the runtime API (`transactions`) and of files that have changed (`crt-watch`). Pure.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cryptography import x509

from headgate.base.records import dataclass
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.certified_key import CertifiedKey


def objection(before: CertifiedKey | None, after: CertifiedKey, now: float) -> str | None:
    """Why `after` should not take the place of `before`, or None.

    Args:
        before: None for a new one.
        now: Unix time.
    """
    if after.not_after < now:
        return f"it has expired: {_date(after.not_after)}"
    if after.not_before > now:
        return f"it is not valid before {_date(after.not_before)}"
    if before is None:
        return None
    if after.not_before < before.not_before:
        return f"it is older than the one in use: issued {_date(after.not_before)}, that one {_date(before.not_before)}"
    lost = [name.decode("ascii", "backslashreplace") for name in before.names if not _covers(after.names, name)]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        return f"it is not valid for {', '.join(lost[:3])}{more}, which the one in use is"
    return None


def _covers(names: Sequence[bytes], name: bytes) -> bool:
    return name in names or (not name.startswith(b"*.") and b"*" + name[name.find(b".") :] in names)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a CA file or CRL file that is to take the place of another one.

    Attributes:
        objection: why it should not, or None.
        warnings: what is wrong with it and was before.
    """

    objection: str | None
    warnings: Sequence[str]


def judge(kind: str, before: Sequence[Any], after: Sequence[Any], now: float) -> Judgement:
    """Judge a `ca-file` or a `crl-file`.

    What is of no use now speaks against a file unless it was in use before and something else in the file is of use: who
    renews one CA, or one list, of several can't be to blame for the others.

    Args:
        kind: which of both.
        before: what is in use: certificates or revocation lists; none for a new file.
        after: what would be.
        now: Unix time.
    """
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    useless = list((_useless_authorities if kind == "ca-file" else _useless_lists)(after, moment))
    known = [text for one, text in useless if one in before]
    fresh = [text for one, text in useless if one not in before]
    if kind == "crl-file":
        fresh += _older_lists(before, after)
    if known and len(useless) == len(after):
        fresh += known
    return Judgement(fresh[0], ()) if fresh else Judgement(None, known)


def _useless_authorities(contents: Sequence[x509.Certificate], now: datetime.datetime) -> Iterator[tuple[x509.Certificate, str]]:
    """CAs that are not valid now. One of the future does no harm beside one that is valid."""
    found = [(one, _out_of_time(one.not_valid_before_utc, one.not_valid_after_utc, now)) for one in contents]
    some_are_valid = any(why is None for _, why in found)
    for one, why in found:
        if why is not None and not (some_are_valid and one.not_valid_before_utc > now):
            yield one, f"the CA {readable(one.subject)} {why}"


_List = x509.CertificateRevocationList


def _useless_lists(contents: Sequence[_List], now: datetime.datetime) -> Iterator[tuple[_List, str]]:
    """Lists that are not valid now, where there is no other one of the same scope that is: OpenSSL takes that one."""
    for lists in _by_scope(contents).values():
        found = [(one, _out_of_time(one.last_update_utc, one.next_update_utc, now)) for one in lists]
        if all(why is not None for _, why in found):
            yield from ((one, f"the revocation list of {readable(one.issuer)} {why}") for one, why in found)


def _older_lists(before: Sequence[_List], after: Sequence[_List]) -> Iterator[str]:
    """Lists that would take the place of a newer one."""
    served = _by_scope(before)
    for scope, lists in _by_scope(after).items():
        old = max(served.get(scope, ()), key=_age, default=None)
        new = max(lists, key=_age)
        if old is not None and _age(new) < _age(old):
            yield (
                f"the revocation list of {readable(new.issuer)} is older than the one in use: {_described(new)},"
                f" that one {_described(old)}"
            )


def _by_scope(contents: Iterable[_List]) -> dict[object, list[_List]]:
    """Lists of the same certificates: of an issuer, its key, a part of what it issued (RFC 5280 5.2.1, 5.2.4, 5.2.5)."""
    found: dict[object, list[_List]] = {}
    for one in contents:
        key = _extension(one, x509.AuthorityKeyIdentifier)
        scope = (
            one.issuer, key.key_identifier if key is not None else None, _extension(one, x509.IssuingDistributionPoint),
            _extension(one, x509.DeltaCRLIndicator) is not None,
        )  # fmt: skip
        found.setdefault(scope, []).append(one)
    return found


def _age(one: _List) -> tuple[datetime.datetime, int]:
    """What the newer of two has more of: thisUpdate, and the number where they were made in the same second (RFC 5280 5.2.3).

    In this order, as OpenSSL chooses: a CA that has lost count begins anew.
    """
    return one.last_update_utc, _number(one)


def _number(one: _List) -> int:
    found = _extension(one, x509.CRLNumber)
    return found.crl_number if found is not None else -1


def _described(one: _List) -> str:
    number, issued = _number(one), f"issued {_date(one.last_update_utc.timestamp())}"
    return issued if number < 0 else f"number {number}, {issued}"


def _extension(one: _List, kind: Any) -> Any:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _out_of_time(begin: datetime.datetime, end: datetime.datetime | None, now: datetime.datetime) -> str | None:
    """Why what is valid from `begin` to `end` is of no use now, or None. A list without an end does not expire."""
    if end is not None and end < now:
        return f"has expired: {_date(end.timestamp())}"
    return f"is not valid before {_date(begin.timestamp())}" if begin > now else None


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%b %e %H:%M:%S %Y GMT")
