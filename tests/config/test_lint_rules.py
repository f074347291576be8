"""Rules that are surely not meant: each with a configuration that has the mistake, and with some that nearly have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.base.diagnostics import Diagnostic, Report
from headgate.base.findings import Findings
from headgate.config.lint_rules import asked_names, lint_rules
from headgate.config.load import load
from headgate.config.model import Config
from headgate.config.predicates import BuildFacts

START = (
    "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"
    "backend a\n server s 127.0.0.1:1\nbackend b\n server s 127.0.0.1:1\n"
)
TLS = "bind :1 ssl crt x.pem"
OPTIONAL = TLS + " ca-file ca.pem verify optional"


def read(text: str, directory: Path, start: str = START) -> Config:
    path = directory / "x.cfg"
    path.write_text(start + text)
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    return config


def found(text: str, directory: Path, start: str = START) -> list[Diagnostic]:
    findings, report = Findings(), Report()
    lint_rules(read(text, directory, start), findings)
    findings.tell(report)
    for item in report.items:
        assert item.location is not None and item.location.text and item.remedy
    return report.items


def frontend(*lines: str) -> str:
    return "frontend f\n" + "".join(f" {line}\n" for line in lines)


HITS = [
    # code, word under the caret, lines
    ("unreachable-backend", "b if", ["bind :1", "use_backend a", "use_backend b if { path /b }"]),
    ("unreachable-backend", "b", ["bind :1", "use_backend a if TRUE", "default_backend b"]),
    ("unreachable-backend", "a ", [TLS, "use_backend a if { req.ssl_sni -i a.example }", "default_backend b"]),
    ("unreachable-backend", "a ", [TLS, "acl sni req_ssl_sni a.example", "use_backend a if sni { path / }"]),
    ("unreachable-backend", "a ", ["bind :1", "use_backend a if { ssl_fc }", "default_backend b"]),
    ("unreachable-backend", "a ", ["bind :1", "use_backend a if { ssl_fc_sni a.example }", "default_backend b"]),
    ("unreachable-backend", "a ", ["bind :1", "use_backend a if FALSE || { always_false }", "default_backend b"]),
    ("unreachable-backend", "a ", ["bind :1", "use_backend a unless { always_true }", "default_backend b"]),
    ("unreachable-backend", "b", ["bind :1", "http-request return status 200", "default_backend b"]),
    ("unreachable-backend", "b", ["bind :1", "http-request redirect scheme https", "default_backend b"]),
    ("unreachable-backend", "b", ["bind :1", "redirect scheme https", "default_backend b"]),
    ("unreachable-backend", "a", [TLS, "http-request deny", "use_backend a if { path /a }"]),
    ("unreachable-backend", "a", ["bind :1", "http-request tarpit if TRUE", "use_backend a if { ssl_fc }"]),
    ("unreachable-backend", "b", ["bind :1", "http-request allow if FALSE", "http-request reject", "default_backend b"]),
    ("unreachable-backend", "b", ["bind :1", "tcp-request content accept", "http-request silent-drop", "default_backend b"]),
    ("unreachable-backend", "b", ["bind :1", "tcp-request connection reject", "default_backend b"]),
    ("impossible-condition", "req.ssl_sni", [TLS, "http-request deny if { req.ssl_sni a.example }", "default_backend b"]),
    ("impossible-condition", "req.ssl_hello_type",
     [TLS, "tcp-request content accept if { req.ssl_hello_type 1 }", "default_backend b"]),
    ("impossible-condition", "req.ssl_sni", [TLS, "use_backend a if !{ req.ssl_sni a.example } { path / }", "default_backend b"]),
    ("tls-verify-unused", "optional", [OPTIONAL, "default_backend a"]),
    ("tls-verify-unused", "optional", [OPTIONAL, "acl unused ssl_c_used", "default_backend a"]),
    ("tls-has-crt", "ssl_fc_has_crt", [OPTIONAL, "http-request deny unless { ssl_fc_has_crt }", "default_backend a"]),
    ("tls-has-crt", "ssl_fc_has_crt",
     [OPTIONAL, "acl sent ssl_fc_has_crt", "http-request deny if { path_beg /x } !sent", "use_backend a if sent"]),
]


@pytest.mark.parametrize(("code", "word", "lines"), HITS, ids=[lines[-1] if len(lines) < 3 else lines[1] for _, _, lines in HITS])
def test_mistakes_of_rules(code: str, word: str, lines: list[str], tmp_path: Path) -> None:
    (item,) = found(frontend(*lines), tmp_path)
    assert item.code == code
    assert item.message.endswith(f"[{code}]")
    place = item.location
    assert place is not None
    assert place.text[place.column - 1 :].startswith(word), place


MISSES = [
    ["bind :1", "use_backend a if { path /a }", "use_backend b if TRUE", "http-request deny if FALSE"],
    ["bind :1", "use_backend %[path] ", "default_backend b"],  # a name that no backend has goes on
    ["bind :1", TLS, "use_backend a if { req.ssl_sni a.example }", "http-request deny if { req.ssl_sni b.example }"],
    ["bind :1", TLS, "use_backend a if { ssl_fc }", "default_backend b"],
    ["bind :1", "use_backend a unless { ssl_fc }", "use_backend b if { path /b }"][:2],
    ["bind :1", "http-request redirect scheme https unless { ssl_fc }", "default_backend b"],
    ["bind :1", "http-request redirect scheme https if !{ ssl_fc }", "http-request return status 200 if { path /up }",
     "default_backend b"],
    ["bind :1", "http-request allow if { path /b }", "http-request deny", "default_backend b"],
    ["bind :1", "http-request redirect location %[path,map(x.map)] ignore-empty", "default_backend b"],
    ["bind :1", "http-request auth unless { path /a }", "http-request wait-for-handshake", "default_backend b"],
    ["bind :1", "http-request return status 200"],
    ["bind :1", "http-response deny", "default_backend b"],
    ["bind :1", "tcp-request content accept if { src 10.0.0.1 }", "tcp-request content reject", "default_backend b"],
    ["bind :1", "use_backend a if { ssl_fc -m bool 0 }", "default_backend b"],
    ["bind :1", "use_backend a if { ssl_fc,not }", "default_backend b"],
    [TLS, "use_backend a if { ssl_fc_sni a.example }", "default_backend b"],
    [OPTIONAL, "http-request deny unless { ssl_c_used }", "default_backend a"],
    [OPTIONAL, "http-request set-header X-Client %[ssl_c_s_dn(cn)]", "default_backend a"],
    [OPTIONAL, "log-format %[ssl_c_verify]", "default_backend a"],
    [OPTIONAL, "acl used ssl_c_used", "use_backend a if used"],
    [OPTIONAL.replace("optional", "required"), "default_backend a"],
    [OPTIONAL, "http-request set-header X-Resumed 1 if { ssl_c_used } !{ ssl_fc_has_crt }", "default_backend a"],
    [OPTIONAL + " no-tls-tickets", "http-request deny unless { ssl_c_used }", "default_backend a"],
    [TLS, "http-request deny unless { ssl_fc_has_crt }", "default_backend a"],
]


@pytest.mark.parametrize("lines", MISSES, ids=[" / ".join(lines) for lines in MISSES])
def test_near_misses(lines: list[str], tmp_path: Path) -> None:
    assert found(frontend(*lines), tmp_path) == []


def test_each_backend_behind_a_rule_that_ends_all_requests(tmp_path: Path) -> None:
    lines = ["bind :1", "http-request deny", "use_backend a", "use_backend b if FALSE", "default_backend b"]
    items = found(frontend(*lines), tmp_path)
    assert [item.message for item in items] == [
        f"'{what}' is never used: 'http-request deny' (line 12) ends everything before [unreachable-backend]"
        for what in ("use_backend a", "use_backend b", "default_backend b")
    ]


def test_in_tcp_mode_the_rules_of_tcp_count(tmp_path: Path) -> None:
    start = START.replace("mode http", "mode tcp")
    for rule, misses in (("http-request deny", True), ("redirect scheme https", True), ("tcp-request content reject", False)):
        assert (found(frontend("bind :1", rule, "default_backend b"), tmp_path, start) == []) is misses


def test_without_resumption_has_crt_is_right(tmp_path: Path) -> None:
    text = frontend(OPTIONAL + " no-tls-tickets", "http-request deny unless { ssl_fc_has_crt }")
    assert found("global\n tune.ssl.cachesize 0\n" + text, tmp_path) == []
    assert found("global\n tune.ssl.cachesize 100\n" + text, tmp_path) != []


def test_a_backend_may_look_at_certificates(tmp_path: Path) -> None:
    text = "backend c\n http-request deny unless { ssl_c_used }\n server s 127.0.0.1:1\n"
    assert found(text + frontend(OPTIONAL, "use_backend c if { path /c }", "default_backend a"), tmp_path) == []
    assert found(text + frontend(OPTIONAL, "use_backend %[path]", "default_backend a"), tmp_path) == []
    assert found(text + frontend(OPTIONAL, "default_backend a"), tmp_path) != []


def test_a_server_may_be_told_of_certificates(tmp_path: Path) -> None:
    for option, misses in (("send-proxy-v2-ssl-cn", True), ("send-proxy", False)):
        text = f"backend c\n server s 127.0.0.1:1 {option}\n" + frontend(OPTIONAL, "default_backend c")
        assert (found(text, tmp_path) == []) is misses


def test_a_default_backend_of_the_defaults_is_nobodys_mistake(tmp_path: Path) -> None:
    start = START.replace(" mode http\n", " mode http\n default_backend b\n")
    assert found(frontend("bind :1", "use_backend a"), tmp_path, start) == []


def test_disabled_frontends_and_those_without_a_line_are_passed_over(tmp_path: Path) -> None:
    assert found(frontend("disabled", OPTIONAL, "default_backend a"), tmp_path) == []
    assert found(frontend("use_backend a if { ssl_fc }"), tmp_path) == []


def test_optional_of_the_default_is_underlined_where_it_stands(tmp_path: Path) -> None:
    (item,) = found(frontend("bind :1 ssl crt x.pem verify optional ca-file optional"), tmp_path)
    assert item.location is not None and item.location.column == len(" bind :1 ssl crt x.pem verify ") + 1


# --- names ---


def names(directory: Path, *lines: str) -> list[str]:
    config = read(frontend(*lines), directory)
    return [asked.name for asked in asked_names(config.proxies[-1])]


def test_names_that_rules_single_out(tmp_path: Path) -> None:
    found = names(
        tmp_path, TLS, "acl shop hdr(host) -i Shop.Example shop.example:8443", "acl shop req.hdr(host),lower old.example",
        "use_backend a if shop", "use_backend b if { ssl_fc_sni blog.example }",
        "http-request set-header X 1 if { req.hdr(host),field(1,:) wiki.example }", "default_backend a",
    )
    assert sorted(set(found)) == ["blog.example", "old.example", "shop.example", "wiki.example"]


@pytest.mark.parametrize(
    "line",
    [
        "http-request deny if { hdr(host) x.example }",
        "http-request set-header X 1 if !{ hdr(host) x.example }",
        "http-request set-header X 1 unless { hdr(host) x.example }",
        "http-request set-header X 1 if { hdr_end(host) x.example }",
        "http-request set-header X 1 if { hdr(host) -m sub x.example }",
        "http-request set-header X 1 if { hdr(x-host) x.example }",
        "http-request set-header X 1 if { path x.example }",
        "http-request set-header X 1 if { ssl_fc_sni,map(x.map) x.example }",
        "http-request set-header X 1 if { ssl_fc_sni -f names.lst }",
        "acl unused hdr(host) x.example",
    ],
)
def test_what_singles_out_no_name(line: str, tmp_path: Path) -> None:
    assert names(tmp_path, TLS, line, "default_backend a") == []


def test_hosts_on_plain_lines_need_no_certificate(tmp_path: Path) -> None:
    rules = ["use_backend a if { hdr(host) x.example }", "use_backend b if { ssl_fc_sni y.example }"]
    assert names(tmp_path, "bind :2", TLS, *rules) == ["y.example"]


# --- lint-ignore ---


def test_lint_ignore(tmp_path: Path) -> None:
    config = read("global\n lint-ignore tls-expired tls-weak-key\n lint-ignore tls-has-crt\n", tmp_path)
    assert config.global_.lint_ignore == {"tls-expired", "tls-weak-key", "tls-has-crt"}


@pytest.mark.parametrize(("words", "near"), [("tls-expierd", "tls-expired"), ("", None)])
def test_lint_ignore_knows_its_words(words: str, near: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(f"global\n lint-ignore {words}\n{START}")
    report = Report()
    assert load([str(path)], {}, BuildFacts(), report) is None
    (alert,) = report.alerts
    assert alert.nearest == near
    assert alert.location is not None and alert.location.line == 2
