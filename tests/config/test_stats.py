"""`stats ...` in proxies and `use-service`: values, defaults sections, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.base.diagnostics import Report, render
from headgate.config.load import load
from headgate.config.model import Config, StatsPage
from headgate.config.predicates import BuildFacts
from headgate.plan.compiler import compile_plan


def read(tmp_path: Path, text: str) -> tuple[Config | None, str]:
    path = tmp_path / "t.cfg"
    path.write_text(text)
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    if config is not None:
        compile_plan(config, report)
    return config, "\n".join(map(render, report.items))


def page(tmp_path: Path, lines: str, *, section: str = "listen", defaults: str = "") -> StatsPage | None:
    timeouts = "    mode http\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n"
    bind = "" if section == "backend" else "    bind :8404\n"
    config, said = read(tmp_path, f"defaults\n{timeouts}{defaults}\n{section} st\n{bind}{lines}\n")
    assert config is not None and not said, said
    return config.proxies[0].stats


def test_without_stats_there_is_no_page(tmp_path: Path) -> None:
    assert page(tmp_path, "") is None


@pytest.mark.parametrize("line", ["enable", "uri /haproxy?stats", "realm x", "auth a:b", "refresh 3s", "scope .", "hide-version",
                                  "show-desc", "show-legends", "show-modules", "show-node", "admin if TRUE", "show-version"])
@pytest.mark.parametrize("section", ["frontend", "backend", "listen"])
def test_any_line_turns_the_page_on(tmp_path: Path, line: str, section: str) -> None:
    found = page(tmp_path, f"    stats {line}\n", section=section)
    assert found is not None and found.uri == "/haproxy?stats"


def test_all_values(tmp_path: Path) -> None:
    found = page(tmp_path, r"""
    stats uri /admin?stats
    stats realm Our\ Statistics
    stats auth admin1:AdMiN:123
    stats auth admin2:AdMiN321
    stats refresh 5
    stats scope .
    stats scope other
    stats show-desc Master node for Europe, Asia, Africa
    stats show-node Europe-1
    stats show-version
    stats admin if LOCALHOST
    stats admin unless { path /x }
""")
    assert found is not None
    assert (found.uri, found.realm, found.refresh, found.scope) == ("/admin?stats", "Our Statistics", 5.0, ("st", "other"))
    assert (found.description, found.node, found.show_version) == ("Master node for Europe, Asia, Africa", "Europe-1", True)
    assert [(user.name, user.password) for user in found.users] == [("admin1", "AdMiN:123"), ("admin2", "AdMiN321")]
    assert len(found.admin) == 2
    assert "AdMiN" not in repr(found)


def test_defaults_are_inherited_and_added_to(tmp_path: Path) -> None:
    found = page(tmp_path, "    stats auth b:2\n", defaults="    stats uri /s\n    stats auth a:1\n    stats scope .\n")
    assert found is not None
    assert (found.uri, found.scope, [user.name for user in found.users]) == ("/s", ("st",), ["a", "b"])


def test_users_of_a_userlist(tmp_path: Path) -> None:
    config, said = read(tmp_path, """
userlist stats-auth
    group admin users admin
    user admin insecure-password AdMiN123
backend stats_auth
    mode http
    stats enable
    acl AUTH http_auth(stats-auth)
    acl AUTH_ADMIN http_auth_group(stats-auth) admin
    stats http-request auth realm x unless AUTH
    stats admin if AUTH_ADMIN
""")
    assert config is not None and not said, said
    found = config.proxies[0].stats
    assert found is not None and len(found.rules) == 1


@pytest.mark.parametrize(("lines", "section", "complaint"), [
    ("stats auth secretpass", "listen", "expects <user>:<password>"),
    ("stats admin", "listen", "'stats admin' expects 'if' or 'unless'"),
    ("stats admin if NOWHERE", "listen", "NOWHERE"),
    ("stats http-request maybe", "listen", "unknown action 'maybe'"),
    ("stats http-request auth\n    stats auth a:b", "listen", "can't be used with 'stats http-request'"),
    ("stats uri", "listen", "expects the prefix of a URI"),
    ("stats refresh soon", "listen", "a delay"),
    ("stats enable now", "listen", "does not take 'now'"),
    ("stats enabel", "listen", "enable"),
    ("http-request use-service prometheus-exportr", "listen", "prometheus-exporter"),
])
def test_what_is_wrong(tmp_path: Path, lines: str, section: str, complaint: str) -> None:
    _, said = read(tmp_path, f"{section} st\n    mode http\n    bind :1\n    {lines}\n")
    assert complaint in said
    assert "secretpass" not in said


def test_tcp_mode_ignores_it_with_a_warning(tmp_path: Path) -> None:
    config, said = read(tmp_path, "frontend st\n    mode tcp\n    bind :1\n    timeout client 1s\n    stats enable\n")
    assert config is not None and config.proxies[0].stats is None
    assert "'stats' is ignored" in said
