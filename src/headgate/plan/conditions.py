"""ACLs and conditions -> tests (manual 7.1, 7.2): closures from stream to bool that stop at the first answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from headgate.base.diagnostics import config_error
from headgate.config.expression import AclReference, Condition, Criterion, SampleExpression, Term
from headgate.plan.expressions import Expression, compile_expression, haproxy_names
from headgate.plan.facts import Stream, Value
from headgate.plan.frontends import Test
from headgate.plan.matchers import DEFAULT_METHODS, METHODS, Matcher, Text
from headgate.plan.places import CONTENT_RULES
from headgate.plan.references import Reference
from headgate.plan.registry import FETCHES, Fetch
from headgate.plan.samples import Run, Type, cast, castable
from headgate.plan.scope import Scope
from headgate.plan.views import Patterns, View, acl_view, without_operators

_SUFFIXES: Final = ("beg", "dir", "dom", "end", "len", "reg", "sub")
#: Legacy ACL keywords that take a suffix: `hdr_beg` is `req.hdr -m beg`.
_DERIVED: Final = {
    "base": "base", "cook": "req.cook", "hdr": "req.hdr", "path": "path", "scook": "res.cook", "shdr": "res.hdr", "url": "url",
    "urlp": "urlp", "url_param": "urlp", "ssl_fc_sni": "ssl_fc_sni",
}
#: ACL keywords with a fetch and a method of their own.
ACL_KEYWORDS: Final[dict[str, tuple[str, str]]] = {
    "cook": ("req.cook", "str"),
    "hdr": ("req.hdr", "str"),
    "http_auth_group": ("http_auth_group", "str"),
    "payload": ("req.payload", "bin"),
    "payload_lv": ("req.payload_lv", "bin"),
    "req.payload": ("req.payload", "bin"),
    "req.payload_lv": ("req.payload_lv", "bin"),
    "req_rdp_cookie": ("req.rdp_cookie", "str"),
    "req_rdp_cookie_cnt": ("req.rdp_cookie_cnt", "int"),
    "req_ssl_sni": ("req.ssl_sni", "str"),
    "req_ssl_ver": ("req.ssl_ver", "int"),
    "req_ver": ("req.ver", "str"),
    "resp_ver": ("res.ver", "str"),
    "scook": ("res.cook", "str"),
    "shdr": ("res.hdr", "str"),
} | {f"{name}_{suffix}": (fetch, suffix) for name, fetch in _DERIVED.items() for suffix in _SUFFIXES}
#: Fetches whose integers are versions with a dot.
_DOTTED: Final = frozenset({"req.ssl_ver", "req_ssl_ver"})


def compile_condition(condition: Condition, scope: Scope) -> Test:
    """Compile `if ...` or `unless ...`.

    Raises:
        ConfigError: as `compile_expression`, for wrong patterns, and for an ACL that does not exist.
    """
    alternatives = [_conjunction([_term(term, scope) for term in terms]) for terms in condition.alternatives]
    test = _disjunction(alternatives)
    return _negation(test, scope) if condition.unless else test


def _term(term: Term, scope: Scope) -> Test:
    if isinstance(term.test, AclReference):
        test = _named(term.test, scope)
    else:
        test = compile_criterion(term.test, scope)
    return _negation(test, scope) if term.negated else test


def _negation(test: Test, scope: Scope) -> Test:
    if not scope.place & CONTENT_RULES:
        return lambda stream: not test(stream)

    def decided(stream: Stream) -> bool:
        """While bytes are missing, "not" is as undecided as the test itself: `reject if !HTTP` must wait, too."""
        earlier, stream.need_more = stream.need_more, False
        holds = test(stream)
        missing = stream.need_more and not stream.request_complete
        stream.need_more = earlier or stream.need_more
        return not holds and not missing

    return decided


def _named(reference: AclReference, scope: Scope) -> Test:
    definitions = scope.acls.get(reference.name)
    if definitions is None:
        raise config_error(
            f"there is no ACL '{reference.name}'", reference.location, allowed=tuple(sorted(scope.acls)), written=reference.name
        )
    return _disjunction([compile_criterion(definition.criterion, scope) for definition in definitions])


def _conjunction(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda stream: first(stream) and second(stream)

    def every(stream: Stream) -> bool:
        for test in tests:
            if not test(stream):
                return False
        return True

    return every


def _disjunction(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda stream: first(stream) or second(stream)

    def some(stream: Stream) -> bool:
        for test in tests:
            if test(stream):
                return True
        return False

    return some


# --- one criterion ---------------------------------------------------------------------------------------------------


def compile_criterion(criterion: Criterion, scope: Scope) -> Test:
    """Compile one ACL: expression, match method, patterns.

    Raises:
        ConfigError: see `compile_condition`.
    """
    fetch, own_method = _keyword(criterion.expression)
    expression = compile_expression(criterion.expression, scope, fetch=fetch, lenient=True)
    name = criterion.match_method
    if name is None:
        own = None if criterion.expression.converters else own_method
        name = own if own is not None else DEFAULT_METHODS.get(expression.type)
    if name is None:
        raise config_error(
            f"'{criterion.expression.text}' gives {expression.type.value}: say how to match it", criterion.expression.location,
            remedy="write '-m <method>' behind it; methods are " + ", ".join(METHODS),
        )
    method = METHODS.get(name)
    if method is None:
        raise config_error(f"there is no match method '{name}'", criterion.location, allowed=tuple(METHODS), written=name)
    if expression.type not in method.accepts or not castable(expression.type, method.wants):
        raise config_error(
            f"match method '{name}' can't be used on '{criterion.expression.text}', which gives {expression.type.value}",
            criterion.expression.location,
        )
    own_list = _own_list(criterion, scope)
    if method.make is None:
        return _presence(expression) if name == "found" else _truth(expression)
    if not (criterion.patterns or criterion.pattern_files or criterion.map_files):
        raise config_error(f"'{criterion.expression.text}' has no pattern to match", criterion.location)
    dotted = name == "int" and (fetch or FETCHES[criterion.expression.fetch.name]).name in _DOTTED
    patterns = Patterns(_views(criterion, scope, own_list, name, dotted=dotted))
    return _matching(expression, method.wants, patterns)


def _keyword(expression: SampleExpression) -> tuple[Fetch | None, str | None]:
    """The fetch and the method behind an ACL keyword; None where the name is a fetch's own."""
    found = ACL_KEYWORDS.get(expression.fetch.name)
    if found is None:
        _suggest(expression)
        return None, None
    fetch, method = found
    # `hdr` and `cook` without an explicit side follow the place (`hdr` in a response rule is the response's).
    name = expression.fetch.name
    if fetch == "req.hdr":
        fetch = "hdr"
    if name == "req_ssl_ver":
        return FETCHES["req.ssl_ver"], method
    return FETCHES[fetch], method


def _suggest(expression: SampleExpression) -> None:
    """An unknown name: ACL keywords count as names that were meant."""
    call = expression.fetch
    if call.name in FETCHES or call.name in haproxy_names("fetch"):
        return
    if call.name in haproxy_names("acl"):
        raise config_error(f"ACL keyword '{call.name}' is known but not yet supported", call.location)
    known = tuple(sorted((*FETCHES, *ACL_KEYWORDS)))
    raise config_error(f"there is no sample fetch or ACL '{call.name}'", call.location, allowed=known, written=call.name)


def _own_list(criterion: Criterion, scope: Scope) -> tuple[Reference, bool]:
    """The list of the patterns in the ACL itself, be there any or not, and whether it is new."""
    described = criterion.expression.fetch.name
    return scope.references.inline(criterion, criterion.location, described, criterion.identifier)


def _views(criterion: Criterion, scope: Scope, own: tuple[Reference, bool], method: str, *, dotted: bool) -> list[View]:
    """How a criterion looks into its lists: files first, then its own patterns."""
    views: list[View] = []
    for source, is_map in ((criterion.pattern_files, False), (criterion.map_files, True)):
        for file in source:
            found = scope.references.file(file.text, file.location, scope.read, with_values=is_map, is_map=False)
            views.append(acl_view(found, method, ignore_case=criterion.ignore_case, dotted=dotted))
    reference, is_new = own
    if is_new:
        texts = [
            Text(pattern.text.encode("utf-8", "surrogateescape"), criterion.ignore_case, pattern.location)
            for pattern in criterion.patterns
        ]
        view = acl_view(reference, method, ignore_case=criterion.ignore_case, dotted=dotted)
        for text in without_operators(texts, dotted=dotted) if method in ("int", "len") else texts:
            view.check(text.value, None, text.location)
            reference.load(text.value, None, 0)
        view.replaced()
    views.append(acl_view(reference, method, ignore_case=criterion.ignore_case, dotted=dotted))
    return views


# --- tests -----------------------------------------------------------------------------------------------------------


def _presence(expression: Expression) -> Test:
    run = expression.run
    return lambda stream: run(stream) is not None


def _truth(expression: Expression) -> Test:
    run = expression.cast(Type.BOOL)
    if expression.type is Type.BOOL:
        return lambda stream: run(stream) is True
    return lambda stream: bool(run(stream))


def _matching(expression: Expression, wanted: Type, patterns: Patterns) -> Test:
    """The test of a sample against lists that may change: each closure has its matcher in a cell that is set anew then."""
    convert = cast(expression.type, wanted)
    if expression.each is not None:
        return _any_matches(expression.each, convert, patterns)
    run: Run = expression.run
    if convert is None:
        return _direct(run, patterns)

    matcher: Matcher

    def change(now: Matcher) -> None:
        nonlocal matcher
        matcher = now

    def converted(stream: Stream) -> bool:
        value = run(stream)
        if value is None:
            return False
        value = convert(value)
        return value is not None and matcher(value)

    matcher = patterns.watch(change)
    return converted


def _direct(run: Run, patterns: Patterns) -> Test:
    matcher: Matcher

    def change(now: Matcher) -> None:
        nonlocal matcher
        matcher = now

    def direct(stream: Stream) -> bool:
        value = run(stream)
        return value is not None and matcher(value)

    matcher = patterns.watch(change)
    return direct


def _any_matches(
    each: Callable[[Stream], Iterable[Value]], convert: Callable[..., Value] | None, patterns: Patterns
) -> Test:
    matcher: Matcher

    def change(now: Matcher) -> None:
        nonlocal matcher
        matcher = now

    def several(stream: Stream) -> bool:
        for value in each(stream):
            if convert is not None:
                value = convert(value)
                if value is None:
                    continue
            if matcher(value):
                return True
        return False

    matcher = patterns.watch(change)
    return several
