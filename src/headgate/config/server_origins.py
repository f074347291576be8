"""What a server line begins with: `from <origin>`, else the `default-server` lines above it (manual 5.2 "from").

For lines of the configuration and for servers that are added while running.
"""

from __future__ import annotations

from typing import Final

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft, ServerDraft, Settings
from headgate.config.registry import BACK

#: How an origin is written.
FORMS: Final = ("none", "be:[<backend>]", "srv:[<backend>/]<server>")
#: What belongs to one server and is not copied.
_IDENTITY: Final = ("id", "cookie", "disabled", "init-addr", "redir")


def read_origin(cursor: Cursor, draft: ProxyDraft, otherwise: Settings) -> Settings:
    """Read `from <origin>` if it comes next.

    Returns:
        A copy of the settings that it names, or without it of those to begin with otherwise.

    Raises:
        ConfigError: there is no such origin.
    """
    if cursor.take("from") is None:
        return Settings(otherwise)
    word = cursor.next(f"what to begin with: {', '.join(FORMS)}")
    try:
        return find_origin(word.text, draft)
    except LookupError as missing:
        remedy = f"write one of {', '.join(FORMS)}, and name what stands above"
        raise cursor.wrong(word, str(missing.args[0]), remedy=remedy) from None


def find_origin(text: str, draft: ProxyDraft) -> Settings:
    """The settings that an origin names; of other backends those that stand above.

    Args:
        text: one of `FORMS`.
        draft: the proxy of the server that begins with them.

    Raises:
        LookupError: there is no such origin; its argument says what is missing.
    """
    kind, colon, name = text.partition(":")
    if text == "none":
        return Settings()
    if kind == "be" and colon:
        return Settings(_proxy(name, draft).default_server)
    if kind == "srv" and colon:
        backend, _, server_name = name.rpartition("/")
        return _server(server_name, _proxy(backend, draft))
    raise LookupError(f"'{text}' is nothing that a server can begin with")


def _proxy(name: str, draft: ProxyDraft) -> ProxyDraft:
    if not name or name == draft.name:
        return draft
    for proxy in draft.config.proxies:
        if proxy.name == name and proxy.scope in BACK:
            return proxy
    raise LookupError(f"there is no backend '{name}'")


def _server(name: str, proxy: ProxyDraft) -> Settings:
    if name in proxy.default_servers:
        return Settings(proxy.default_servers[name])
    for server in proxy.servers:
        if server.name == name:
            return _without_identity(server)
    raise LookupError(f"'{proxy.name}' has neither a server nor a default-server called '{name}'")


def _without_identity(server: ServerDraft) -> Settings:
    return Settings({name: setting for name, setting in server.settings.items() if name not in _IDENTITY})
