"""Fetches of the request line (manual 7.3.6): method, path, query, URL, parameters, version; and authentication."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from headgate.base.diagnostics import config_error
from headgate.config.model import Userlist
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.http_fields import parameters, path_of, query_of, split_target
from headgate.plan.fetches.http_heads import forwarded_address
from headgate.plan.places import REQUEST, REQUEST_MEMORY
from headgate.plan.registry import Argument, Many, fetch, plain
from headgate.plan.samples import Convert, Run, Type, parse_address, parse_integer
from headgate.plan.scope import Scope
from headgate.plan.string_hashes import sdbm

if TYPE_CHECKING:
    from headgate.plan.passwords import Checker

STRING: Final = Argument.STRING


def _method(stream: Stream) -> Value:
    head = stream.request
    return stream.original_method or None if head is None else head.method


def _path(stream: Stream) -> Value:
    head = stream.request
    return None if head is None else path_of(head.target) or None


def _pathq(stream: Stream) -> Value:
    head = stream.request
    return None if head is None else split_target(head.target)[1] or None


def _url(stream: Stream) -> Value:
    head = stream.request
    return None if head is None else head.target


def _base(stream: Stream) -> bytes | None:
    head = stream.request
    if head is None:
        return None
    path = path_of(head.target)
    return (head.first(b"host") or b"") + path or None


def _baseq(stream: Stream) -> Value:
    head = stream.request
    if head is None:
        return None
    return (head.first(b"host") or b"") + split_target(head.target)[1] or None


def _version(stream: Stream) -> Value:
    head = stream.request
    if head is None:
        return None
    return b"1.1" if head.version == 11 else b"1.0"


def _url_hash(stream: Stream) -> int | None:
    head = stream.request
    if head is None:
        return None
    return sdbm((head.first(b"host") or b"") + split_target(head.target)[1])


def _base_hash(stream: Stream) -> int | None:
    base = _base(stream)
    return None if base is None else sdbm(base)


def _with_source(run: Callable[[Stream], int | None]) -> Run:
    def joined(stream: Stream) -> Value:
        number, address = run(stream), parse_address(stream.session.source)
        return None if number is None or address is None else number.to_bytes(4, "big") + address.packed

    return joined


def _url_ip(stream: Stream) -> Value:
    head = stream.request
    return None if head is None else forwarded_address(split_target(head.target)[0])


def _url_port(stream: Stream) -> Value:
    head = stream.request
    if head is None:
        return None
    port = split_target(head.target)[0].rpartition(b":")[2]
    return int(port) if port.isdigit() else 80


plain("method", result=Type.METH, places=REQUEST_MEMORY, run=_method, request=True)
plain("path", result=Type.STR, places=REQUEST, run=_path, request=True)
plain("pathq", result=Type.STR, places=REQUEST, run=_pathq, request=True)
plain("url", result=Type.STR, places=REQUEST, run=_url, request=True)
plain("base", result=Type.STR, places=REQUEST, run=_base, request=True)
plain("baseq", result=Type.STR, places=REQUEST, run=_baseq, request=True)
plain("req.ver", "req_ver", result=Type.STR, places=REQUEST_MEMORY, run=_version, request=True)
plain("url32", result=Type.SINT, places=REQUEST, run=_url_hash, request=True)
plain("url32+src", result=Type.BIN, places=REQUEST, run=_with_source(_url_hash), request=True)
plain("base32", result=Type.SINT, places=REQUEST, run=_base_hash, request=True)
plain("base32+src", result=Type.BIN, places=REQUEST, run=_with_source(_base_hash), request=True)
plain("url_ip", result=Type.ADDR, places=REQUEST, run=_url_ip, request=True)
plain("url_port", result=Type.SINT, places=REQUEST, run=_url_port, request=True)
plain("http_first_req", result=Type.BOOL, places=REQUEST_MEMORY, run=lambda stream: stream.session.streams <= 1)


@fetch("query", result=Type.STR, places=REQUEST, arguments=(STRING,), required=0, request=True)
def query(scope: Scope, options: bytes | None) -> Run:
    if options not in (None, b"", b"with_qm"):
        raise config_error(f"the only option is with_qm, not '{options.decode('latin-1')}'", None)
    with_mark = bool(options)

    def run(stream: Stream) -> Value:
        head = stream.request
        found = None if head is None else query_of(head.target)
        return b"?" + found if with_mark and found else found

    return run


def _compile_parameter(convert: Convert | None) -> Callable[..., Many]:
    def compile_(scope: Scope, name: bytes | None, delimiter: bytes | None, flag: bytes | None) -> Many:
        if flag not in (None, b"", b"i"):
            raise config_error(f"the third argument can only be i, not '{flag.decode('latin-1')}'", None)
        fold, start = bool(flag), (delimiter or b"?")[:1]
        wanted = name.lower() if fold and name else name

        def every(stream: Stream) -> Iterable[Value]:
            head = stream.request
            text = None if head is None else query_of(head.target, start)
            if text is None:
                return
            for found, value in parameters(text, start):
                if not wanted or (found.lower() if fold else found) == wanted:
                    converted = value if convert is None else convert(value)
                    if converted is not None:
                        yield converted

        return Many(lambda stream: next(iter(every(stream)), None), every)

    return compile_


_PARAMETER: Final = (STRING, STRING, STRING)
fetch("url_param", "urlp", result=Type.STR, places=REQUEST, arguments=_PARAMETER, required=0, request=True)(
    _compile_parameter(None)
)
fetch("urlp_val", result=Type.SINT, places=REQUEST, arguments=_PARAMETER, required=0, request=True)(
    _compile_parameter(parse_integer)
)


# --- authentication --------------------------------------------------------------------------------------------------


def authorization(stream: Stream) -> tuple[bytes, bytes] | None:
    """Scheme and credentials of the Authorization field."""
    head = stream.request
    value = None if head is None else head.first(b"authorization")
    if value is None:
        return None
    scheme, space, credentials = value.partition(b" ")
    return (scheme, credentials.strip(b" ")) if space else None


def basic_credentials(stream: Stream) -> tuple[bytes, bytes] | None:
    """User and password of HTTP Basic authentication (RFC 7617)."""
    found = authorization(stream)
    if found is None or found[0].lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(found[1], validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon else None


def _user(stream: Stream) -> Value:
    found = basic_credentials(stream)
    return None if found is None else found[0]


def _password(stream: Stream) -> Value:
    found = basic_credentials(stream)
    return None if found is None else found[1]


def _scheme(stream: Stream) -> Value:
    found = authorization(stream)
    return None if found is None else found[0]


plain("http_auth_user", result=Type.STR, places=REQUEST, run=_user, request=True)
plain("http_auth_pass", result=Type.STR, places=REQUEST, run=_password, request=True)
plain("http_auth_type", result=Type.STR, places=REQUEST, run=_scheme, request=True)


@fetch("http_auth_bearer", result=Type.STR, places=REQUEST, arguments=(STRING,), required=0, request=True)
def http_auth_bearer(scope: Scope, field: bytes | None) -> Run:
    name = (field or b"authorization").lower()

    def run(stream: Stream) -> Value:
        head = stream.request
        value = None if head is None else head.first(name)
        if value is None:
            return None
        scheme, space, token = value.partition(b" ")
        return token.strip(b" ") if space and scheme.lower() == b"bearer" else None

    return run


def _checker(userlist: Userlist) -> Checker:
    # Only those who ask for passwords pay for the digests that guard them.
    from headgate.plan.passwords import Checker

    return Checker(userlist)


@fetch("http_auth", result=Type.BOOL, places=REQUEST, arguments=(Argument.USERLIST,), request=True)
def http_auth(scope: Scope, userlist: Userlist) -> Run:
    check = _checker(userlist)

    def run(stream: Stream) -> Value:
        found = basic_credentials(stream)
        return found is not None and check.valid(*found)

    return run


@fetch("http_auth_group", result=Type.STR, places=REQUEST, arguments=(Argument.USERLIST,), request=True)
def http_auth_group(scope: Scope, userlist: Userlist) -> Many:
    check = _checker(userlist)

    def one(stream: Stream) -> Value:
        found = basic_credentials(stream)
        return found[0] if found is not None and check.valid(*found) else None

    def groups(stream: Stream) -> Iterable[Value]:
        # In an ACL the patterns are group names (7.3.6): every group of the user is a value.
        user = one(stream)
        return () if not isinstance(user, bytes) else check.groups(user)

    return Many(one, groups)
