"""What a proxy's mode leaves without effect: HTTP keywords in TCP mode are dropped, with a warning where they were written (4.2).

What came from a defaults section is dropped in silence: such a section serves proxies of both modes.
"""

from __future__ import annotations

from headgate.base.diagnostics import Report
from headgate.config.actions import Ruleset
from headgate.config.drafts import ProxyDraft
from headgate.config.model import Balance, Mode

_HTTP_RULESETS = (Ruleset.HTTP_REQUEST, Ruleset.HTTP_RESPONSE, Ruleset.HTTP_AFTER_RESPONSE)

_HTTP_SETTINGS = (
    "cookie", "connection mode", "option forwardfor", "option originalto", "monitor-uri", "unique-id-header", "retry-on",
    "http-reuse", "http-send-name-header", "option http-buffer-request", "option http-ignore-probes",
    "option http-pretend-keepalive", "option http-restrict-req-hdr-names",
    "option idle-close-on-response", "stats enable",
)

_HTTP_BALANCE = frozenset({"uri", "url_param", "hdr"})


def drop_what_mode_ignores(proxy: ProxyDraft, report: Report) -> None:
    """Remove HTTP keywords from a TCP proxy's draft."""
    if proxy.settings.value("mode", Mode.TCP) is Mode.HTTP:
        return
    _drop_settings(proxy, report)
    _drop_rules(proxy, report)
    _fall_back(proxy, report)


def _drop_settings(proxy: ProxyDraft, report: Report) -> None:
    for name in _HTTP_SETTINGS:
        setting = proxy.settings.get(name)
        if setting is None:
            continue
        del proxy.settings[name]
        if setting.inherited or name == "retry-on":  # the manual promises silence for it
            continue
        if name == "stats enable":
            report.warn(f"'stats' is ignored in {proxy.title}, as it requires HTTP mode", setting.location)
        elif name != "connection mode":
            report.warn(f"'{name}' is ignored in {proxy.title}, as it requires HTTP mode", setting.location)
        else:
            report.warn(f"'option {setting.value.value}' is ignored in {proxy.title}, as it requires HTTP mode", setting.location)


def _drop_rules(proxy: ProxyDraft, report: Report) -> None:
    dropped = [(ruleset.value, rules) for ruleset in _HTTP_RULESETS if (rules := proxy.rules.pop(ruleset, None))]
    dropped += [("redirect", proxy.redirects), ("block", proxy.denials), ("header editing", proxy.edits)]
    for name, rules in dropped:
        if rules:
            remedy = "write 'mode http' in the section"
            message = f"'{name}' rules are ignored in {proxy.title}, as they require HTTP mode"
            report.warn(message, rules[0].location, remedy=remedy)
    proxy.redirects, proxy.denials, proxy.edits = [], [], []
    if proxy.request_captures or proxy.response_captures or proxy.cookie_capture is not None:
        report.warn(f"captures of headers and cookies are ignored in {proxy.title}, as they require HTTP mode", proxy.location)
        proxy.request_captures, proxy.response_captures, proxy.cookie_capture = [], [], None


def _fall_back(proxy: ProxyDraft, report: Report) -> None:
    style = proxy.settings.get("log style")
    if style is not None and style.value in ("http", "https", "clf"):
        proxy.settings.put("log style", "tcp", style.location)
        if proxy.is_frontend:
            option = {"http": "httplog", "https": "httpslog", "clf": "httplog clf"}[style.value]
            report.warn(
                f"'option {option}' is not usable with {proxy.title} (needs 'mode http'): falling back to 'option tcplog'",
                style.location,
            )
    balance = proxy.settings.get("balance")
    if balance is not None and balance.value.algorithm in _HTTP_BALANCE:
        proxy.settings.put("balance", Balance("roundrobin"), balance.location)
        if not balance.inherited:
            name = f"balance {balance.value.algorithm}"
            report.warn(f"'{name}' needs 'mode http': {proxy.title} falls back to round robin", balance.location)
