"""What a request to the statistics page wants: the words behind its address, and whether it may change something."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from headgate.base.records import dataclass
from headgate.observe.page.facts import Selection
from headgate.observe.service import Question
from headgate.wire.http1.heads import RequestHead

#: The longest part of a proxy's name in `scope=`.
_SCOPE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request.

    Attributes:
        uri: the page's address, from the configuration.
        form: "csv", "json", "typed", "json-schema", "live" or "html".
        status: code of the message about the last action.
        row: key of the row whose details are wanted.
        refresh: the page may load itself again.
    """

    uri: str
    form: str
    selection: Selection
    status: str
    row: str
    refresh: bool

    def link(self, *words: str) -> str:
        """The page's address with these words behind it."""
        return self.uri + "".join([";" + word for word in words])

    def kept(self) -> list[str]:
        """The words that stay when the page leads to itself."""
        kept = []
        if self.selection.up:
            kept.append("up")
        if self.selection.no_maintenance:
            kept.append("no-maint")
        if not self.refresh:
            kept.append("norefresh")
        if self.selection.part:
            kept.append("scope=" + quote(self.selection.part, safe=""))
        return kept


_FORMS = ("csv", "json", "typed", "json-schema", "live")


def read_request(question: Question) -> Wanted:
    """Take the target of a request apart."""
    page = question.service.page
    uri = page.uri if page is not None else ""
    target = question.head.target
    at = target.find(uri.encode())
    rest = target[at + len(uri) :] if at >= 0 else b""
    form, status, row, part = "html", "", "", ""
    found = set()
    for word in rest.replace(b"?", b";").replace(b"&", b";").split(b";"):
        name, _, value = word.partition(b"=")
        if name == b"st":
            status = value.decode("ascii", "replace")
        elif name == b"row":
            row = _decoded(value)
        elif name == b"scope":
            part = _decoded(value.replace(b"+", b" "))[:_SCOPE_LENGTH]
        else:
            found.add(name.decode("ascii", "replace"))
    for one in _FORMS:
        if one in found:
            form = one
            break
    scope = frozenset(page.scope) if page is not None else frozenset()
    selection = Selection(scope, part, up="up" in found, no_maintenance="no-maint" in found)
    return Wanted(uri, form, selection, status, row, "norefresh" not in found)


def _decoded(value: bytes) -> str:
    return unquote_to_bytes(value).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Change:
    """What the form of the page asks for.

    Attributes:
        action: of the select box.
        backend: name, or `#` and number.
        servers: their names.
    """

    action: str
    backend: str
    servers: tuple[str, ...]


def read_change(body: bytes) -> Change | None:
    """Take the form apart; None when it is none."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=5000)
    except ValueError:
        return None
    action = backend = ""
    servers = []
    for name, value in pairs:
        if name == "s":
            servers.append(value)
        elif name == "action":
            action = value
        elif name == "b":
            backend = value
    return Change(action, backend, tuple(dict.fromkeys(servers)))


def is_from_our_page(head: RequestHead) -> bool:
    """Whether no other site made the browser send this (manual, "stats admin", on CSRF).

    Browsers name the origin of a form. Programs name none, and can't be made to send anything by a third.
    """
    site = head.first(b"sec-fetch-site")
    if site is not None and site not in (b"same-origin", b"none"):
        return False
    origin = head.first(b"origin")
    if origin is None:
        origin = head.first(b"referer")
    if origin is None:
        return True
    host = head.first(b"host")
    if host is None:
        return False
    try:
        split = urlsplit(origin.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return False
    return split.scheme in ("http", "https") and _without_port(split.netloc, split.scheme) == _without_port(
        host.decode("ascii", "replace"), split.scheme
    )


def _without_port(authority: str, scheme: str) -> str:
    """An authority in lower case, without the port that the scheme has anyway."""
    return authority.lower().removesuffix(":443" if scheme == "https" else ":80")
