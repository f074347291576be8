"""Providers of OpenSSL's algorithms (OSSL_PROVIDER(3), property(7)): `ssl-provider`, `ssl-propquery`, `show ssl providers`.

They belong to the process: all of TLS uses them, and they stay loaded until it ends. The binding loads the default provider and
the legacy one before we are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.base.diagnostics import ConfigError, Report, config_error
from headgate.config.tls_options import PropertyQuery, Provider
from headgate.tls.openssl import ffi, lib
from headgate.tls.unbound import Unreachable, function


class _Applied:
    """What this process has been told."""

    __slots__ = ("loaded", "query")

    def __init__(self) -> None:
        self.loaded: set[tuple[str, str | None]] = set()
        self.query = ""


_applied = _Applied()


def apply(providers: Sequence[Provider], query: PropertyQuery | None, report: Report) -> None:
    """Load providers, in their order, and say which algorithms are preferred (manual 3.1 ssl-provider, ssl-propquery).

    Before anything else of TLS is built. A process that reads another configuration later keeps what it has loaded.

    Args:
        providers: of the global section.
        query: of the global section; None: none is preferred.
        report: where errors go.
    """
    try:
        for provider in providers:
            _load(provider)
        _prefer(query)
    except ConfigError as error:
        report.add(error.diagnostic)


def _load(provider: Provider) -> None:
    key = (provider.name, provider.path)
    if key in _applied.loaded:
        return
    try:
        load, set_path = function("OSSL_PROVIDER_load"), function("OSSL_PROVIDER_set_default_search_path")
    except Unreachable as why:
        raise config_error(f"'ssl-provider' can't be followed: {why}", provider.location, remedy="leave it out") from None
    lib.ERR_clear_error()
    if provider.path is not None:
        set_path(ffi.NULL, ffi.new("char[]", provider.path.encode("utf-8", "surrogateescape")))
    if not load(ffi.NULL, ffi.new("char[]", provider.name.encode("utf-8", "surrogateescape"))):
        where = f" in '{provider.path}'" if provider.path is not None else ""
        raise config_error(
            f"provider '{provider.name}' can't be loaded{where}: {_reason()}", provider.location, written=provider.name,
            remedy="'ssl-provider-path' before it names the directory of its module" if provider.path is None else None,
        )
    _applied.loaded.add(key)


def _prefer(query: PropertyQuery | None) -> None:
    text = query.text if query is not None else ""
    if text == _applied.query:
        return
    place = query.location if query is not None else None
    try:
        prefer = function("EVP_set_default_properties")
    except Unreachable as why:
        raise config_error(f"'ssl-propquery' can't be followed: {why}", place, remedy="leave it out") from None
    lib.ERR_clear_error()
    if not prefer(ffi.NULL, ffi.new("char[]", text.encode("utf-8", "surrogateescape"))):
        raise config_error(f"'{text}' is no query of properties: {_reason()}", place, written=text)
    if text and not _works():
        prefer(ffi.NULL, ffi.new("char[]", _applied.query.encode()))
        raise config_error(
            f"with the query '{text}' no provider is left that TLS could use: {_reason()}", place, written=text,
            remedy=f"'?{text}' prefers such a provider, and takes another one where there is none" if text[0] != "?" else None,
        )
    _applied.query = text


def _works() -> bool:
    """Whether a context can be made."""
    context = lib.SSL_CTX_new(lib.TLS_method())
    if not context:
        return False
    lib.SSL_CTX_free(context)
    return True


def _reason() -> str:
    """OpenSSL's first words that mean something; its error queue is empty then."""
    reason = ""
    while code := lib.ERR_get_error():
        words = lib.ERR_reason_error_string(code)
        if words and not reason:
            reason = ffi.string(words).decode("ascii", "replace")
    return reason or "OpenSSL does not say why"


def names() -> list[str]:
    """The providers that are loaded, in alphabetical order (management manual 9.3, show ssl providers).

    Raises:
        Unreachable: the TLS library can't be asked.
    """
    name = function("OSSL_PROVIDER_get0_name")
    found: list[str] = []

    def note(provider: Any, _argument: Any) -> int:
        found.append(ffi.string(name(provider)).decode("utf-8", "replace"))
        return 1

    callback = ffi.callback("int (*)(void *, void *)", note)
    function("OSSL_PROVIDER_do_all")(ffi.NULL, callback, ffi.NULL)
    return sorted(found)
