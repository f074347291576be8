"""Actions that answer the client: `redirect`, `return`, `deny`, `tarpit`, `auth` (manual 4.2 "redirect", 4.4)."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import Location, config_error
from headgate.config.actions import Auth, Deny, Redirect, ReplySpec, Return, Tarpit
from headgate.plan.actions.headers import compile_value, header_name
from headgate.plan.actions.registry import Act, action
from headgate.plan.facts import Stream
from headgate.plan.fetches.http_fields import split_target
from headgate.plan.logformat import Use, compile_format, escape_field
from headgate.plan.places import RESPONSE_PLACES
from headgate.plan.replies import denied_copy, make_reply, page_reply, standard_reply, status_line
from headgate.plan.scope import Scope
from headgate.plan.verdicts import Kind, Reply, Verdict

# --- redirect --------------------------------------------------------------------------------------------------------


def _path_and_query(target: bytes, *, drop_query: bool, append_slash: bool) -> bytes:
    path, mark, query = split_target(target)[1].partition(b"?")
    if not path:
        path = b"/"
    if append_slash and drop_query and not path.endswith(b"/"):
        path += b"/"
    return path if drop_query else path + mark + query


def _location_builder(rule: Redirect) -> Callable[[Stream, bytes], bytes]:
    """From the stream and the evaluated argument to the Location field."""

    def prefix(stream: Stream, argument: bytes) -> bytes:
        assert stream.request is not None
        rest = _path_and_query(stream.request.target, drop_query=rule.drop_query, append_slash=rule.append_slash)
        # "/" alone inserts nothing: a redirect to the same URL.
        return rest if argument == b"/" else argument + rest

    def scheme(stream: Stream, argument: bytes) -> bytes:
        assert stream.request is not None
        host = stream.request.first(b"host") or b""
        rest = _path_and_query(stream.request.target, drop_query=rule.drop_query, append_slash=rule.append_slash)
        return argument + b"://" + host + rest

    def location(stream: Stream, argument: bytes) -> bytes:
        if rule.keep_query and stream.request is not None:
            query = stream.request.target.partition(b"?")[2]
            if query:
                return argument + (b"&" if b"?" in argument else b"?") + query
        return argument

    return {"prefix": prefix, "scheme": scheme, "location": location}[rule.kind]


@action(Redirect)
def redirect(rule: Redirect, scope: Scope, location: Location) -> Act:
    if rule.kind in ("prefix", "scheme") and scope.place & RESPONSE_PLACES:
        raise config_error(f"'redirect {rule.kind}' needs the request: in a response rule only 'location' is possible", location)
    write = compile_format(rule.target, scope, Use.HEADER)
    build = _location_builder(rule)
    fields = b"content-length: 0\r\n"
    if rule.code in (302, 303, 307):
        fields += b"cache-control: no-cache\r\n"
    if rule.set_cookie is not None:
        fields += b"set-cookie: " + _cookie(rule.set_cookie, location) + b"; path=/\r\n"
    if rule.clear_cookie is not None:
        fields += b"set-cookie: " + _cookie(rule.clear_cookie, location) + b"; path=/; Max-Age=0\r\n"
    start = status_line(rule.code) + fields + b"location: "
    code, ignore_empty = rule.code, rule.ignore_empty
    needs_request = rule.kind != "location"

    def act(stream: Stream) -> Verdict | None:
        if needs_request and stream.request is None:
            return None
        argument = write(stream)
        if ignore_empty and not argument:
            return None
        return Verdict(Kind.REPLY, Reply(code, start + escape_field(build(stream, argument)) + b"\r\n", b""))

    return act


def _cookie(text: str, location: Location) -> bytes:
    value = text.encode("utf-8", "surrogateescape")
    if escape_field(value) != value or b";" in value:
        raise config_error(f"'{text}' can't be a cookie", location)
    return value


# --- return, deny, tarpit --------------------------------------------------------------------------------------------


def _compile_reply(
    spec: ReplySpec, default: int, scope: Scope, location: Location, *, denied: bool
) -> Reply | Callable[[Stream], Reply]:
    status = spec.status if spec.status is not None else default
    if spec.raw is not None:
        return Reply(status, spec.raw, b"", raw=True, denied=denied)
    if spec.error_section is not None:
        return _from_section(spec.error_section, status, scope, location, denied=denied)
    headers = [(header_name(header.name, location), compile_value(header.value, scope, location)) for header in spec.headers]
    if spec.body is None and spec.body_format is None:
        if spec.default_errorfiles or (denied and not headers):
            page = scope.proxy.error_pages.get(status)
            if page is not None:
                return page_reply(status, page, denied=denied)
        base = standard_reply(status, denied=denied) if denied else make_reply(status, b"", denied=denied)
        return _with_headers(base, headers)
    content_type = b""
    if spec.content_type is not None:
        content_type = b"content-type: " + spec.content_type.encode("utf-8", "surrogateescape") + b"\r\n"
    elif spec.body_format is not None or spec.body:
        content_type = b"content-type: text/plain\r\n"
    if spec.body_format is None:
        return _with_headers(make_reply(status, content_type, spec.body or b"", denied=denied), headers)
    write = compile_format(spec.body_format, scope, Use.BODY)

    def dynamic(stream: Stream) -> Reply:
        reply = make_reply(status, content_type, write(stream), denied=denied)
        for name, value in headers:
            reply.head += name + b": " + (value if isinstance(value, bytes) else value(stream)) + b"\r\n"
        return reply

    return dynamic


def _with_headers(
    base: Reply, headers: list[tuple[bytes, bytes | Callable[[Stream], bytes]]]
) -> Reply | Callable[[Stream], Reply]:
    """The reply with more fields: still a constant when all their values are."""
    constant = base.head + b"".join([name + b": " + value + b"\r\n" for name, value in headers if isinstance(value, bytes)])
    computed = [(name + b": ", value) for name, value in headers if not isinstance(value, bytes)]
    if not computed:
        return Reply(base.status, constant, base.body, denied=base.denied)

    def dynamic(stream: Stream) -> Reply:
        fields = b"".join([name + value(stream) + b"\r\n" for name, value in computed])
        return Reply(base.status, constant + fields, base.body, denied=base.denied)

    return dynamic


def _from_section(name: str, status: int, scope: Scope, location: Location, *, denied: bool) -> Reply:
    section = scope.config.error_sections.get(name)
    if section is None:
        raise config_error(
            f"there is no http-errors section '{name}'", location, allowed=tuple(scope.config.error_sections), written=name
        )
    page = section.pages.get(status)
    return standard_reply(status, denied=denied) if page is None else page_reply(status, page, denied=denied)


def _answer(kind: Kind, reply: Reply | Callable[[Stream], Reply]) -> Act:
    if isinstance(reply, Reply):
        verdict = Verdict(kind, reply)
        return lambda stream: verdict
    return lambda stream: Verdict(kind, reply(stream))


@action(Deny)
def deny(rule: Deny, scope: Scope, location: Location) -> Act:
    # A response that is denied is a bad gateway for the client (4.4 "deny").
    default = 502 if scope.place & RESPONSE_PLACES else 403
    return _answer(Kind.REPLY, _compile_reply(rule.reply, default, scope, location, denied=True))


@action(Tarpit)
def tarpit(rule: Tarpit, scope: Scope, location: Location) -> Act:
    return _answer(Kind.TARPIT, _compile_reply(rule.reply, 500, scope, location, denied=True))


@action(Return)
def return_(rule: Return, scope: Scope, location: Location) -> Act:
    return _answer(Kind.REPLY, _compile_reply(rule.reply, 200, scope, location, denied=False))


@action(Auth)
def auth(rule: Auth, scope: Scope, location: Location) -> Act:
    realm = (rule.realm if rule.realm is not None else scope.proxy.name).encode("utf-8", "surrogateescape")
    if escape_field(realm) != realm:
        raise config_error("a realm may not hold control characters", location)
    quoted = realm.replace(b"\\", b"\\\\").replace(b'"', b'\\"')

    def challenge(status: int, field: bytes) -> Verdict:
        page = scope.proxy.error_pages.get(status)
        reply = denied_copy(standard_reply(status)) if page is None else page_reply(status, page, denied=True)
        if not reply.raw:
            reply.head += field + b': Basic realm="' + quoted + b'"\r\n'
        return Verdict(Kind.REPLY, reply)

    server, proxy = challenge(401, b"www-authenticate"), challenge(407, b"proxy-authenticate")

    def act(stream: Stream) -> Verdict:
        # A client that speaks to us as its proxy uses absolute targets and is asked as by a proxy (4.4 "auth").
        head = stream.request
        return proxy if head is not None and head.target[:1] != b"/" and head.target != b"*" else server

    return act
