"""What is wrong with TLS options and is found only when OpenSSL is told of them: each message stands where the mistake does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headgate.app.prepare import prepare
from headgate.base.diagnostics import Diagnostic, Report, Severity, render
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.tls.authority import issue, make_authority

SSL = "ssl crt site.pem"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    authority = make_authority("Acme")
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "site.pem").write_bytes(issue(authority, ["shop.example"]).pem)
    os.chmod(tmp_path / "site.pem", 0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(bind: str = SSL, *, globals_: str = "", server: str = "") -> list[Diagnostic]:
    """What is said of a configuration. The line of `globals_` is the second, bind lines are the eighth and the ninth."""
    Path("x.cfg").write_text(
        f"global\n {globals_}\ndefaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
        f"listen l\n bind 127.0.0.1:1 {bind}\n bind 127.0.0.1:2 ssl crt site.pem\n server s 127.0.0.1:80 {server}\n"
    )
    report = Report()
    config = load(["x.cfg"], {}, BuildFacts(), report)
    if config is not None:
        prepare(config, report)
    return report.items


def found(bind: str = SSL, *, globals_: str = "", server: str = "") -> list[Diagnostic]:
    """All of it that is no finding."""
    return [item for item in everything(bind, globals_=globals_, server=server) if item.code is None]


def codes(bind: str = SSL, *, server: str = "") -> list[str]:
    """The findings."""
    return [item.code for item in everything(bind, server=server) if item.code is not None]


def place(diagnostic: Diagnostic) -> tuple[str, int, str]:
    """File, line and the text that is underlined."""
    location = diagnostic.location
    assert location is not None
    return location.file, location.line, location.underlined


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("ssl-default-bind-curves X25519:P-257", "P-257"), ("ssl-default-bind-ciphers FOO", "FOO"),
        ("ssl-default-bind-ciphersuites FOO", "FOO"), ("ssl-default-bind-sigalgs FOO", "FOO"),
        ("ssl-default-bind-client-sigalgs FOO", "FOO"), ("ssl-default-bind-options force-sslv3", "force-sslv3"),
        ("ssl-default-bind-options no-tlsv12 no-tlsv13", "no-tlsv12"),
        ("ssl-default-bind-options ssl-max-ver TLSv1.1", "TLSv1.1"),
    ],
)  # fmt: skip
def test_defaults_of_bind_lines(folder: Path, written: str, word: str) -> None:
    (one,) = found(globals_=written)
    assert place(one) == ("x.cfg", 2, word)


def test_it_is_the_keyword_of_the_global_section_that_is_named(folder: Path) -> None:
    (one,) = found(globals_="ssl-default-bind-curves P-257")
    assert one.message.startswith("ssl-default-bind-curves 'P-257':") and one.nearest == "P-256"


def test_defaults_of_server_lines(folder: Path) -> None:
    (one,) = found(globals_="ssl-default-server-ciphers FOO", server="ssl verify none check")
    assert place(one) == ("x.cfg", 2, "FOO")


@pytest.mark.parametrize(
    ("bind", "server", "line"), [(f"{SSL} ssl-max-ver TLSv1.2", "", 8), (SSL, "ssl verify none ssl-max-ver TLSv1.2", 10)]
)
def test_versions_that_two_lines_leave_none_of(folder: Path, bind: str, server: str, line: int) -> None:
    side = "server" if server else "bind"
    (one,) = found(bind, globals_=f"ssl-default-{side}-options ssl-min-ver TLSv1.3", server=server)
    assert place(one) == ("x.cfg", line, "ssl-max-ver")
    assert one.message.endswith(f": 'ssl-min-ver TLSv1.3' in line 2 and 'ssl-max-ver TLSv1.2' in line {line}")


def test_versions_left_out_on_a_line_and_by_default_add_up(folder: Path) -> None:
    assert found(f"{SSL} no-tlsv11", globals_="ssl-default-bind-options no-tlsv12") == []
    (one,) = found(f"{SSL} no-tlsv13", globals_="ssl-default-bind-options no-tlsv12")
    assert place(one) == ("x.cfg", 8, "no-tlsv13")
    assert one.message.endswith(": 'no-tlsv12' in line 2 and 'no-tlsv13' in line 8")


@pytest.mark.parametrize(
    ("bind", "default", "word", "ignored", "limits", "remedy"),
    [
        ("ssl-min-ver TLSv1.2", "no-tlsv13", "ssl-min-ver", "'no-tlsv13' is",
         "'ssl-min-ver TLSv1.2' in line {line} and 'no-tlsv13' in line 2", "write 'ssl-max-ver TLSv1.2' instead"),
        ("no-tlsv12 ssl-min-ver TLSv1.2", "", "ssl-min-ver", "'no-tlsv12' is",
         "'ssl-min-ver TLSv1.2' in line {line} and 'no-tlsv12' in line {line}", "write 'ssl-min-ver TLSv1.3' instead"),
        ("no-tlsv13", "ssl-min-ver TLSv1.2", "no-tlsv13", "'no-tlsv13' is",
         "'ssl-min-ver TLSv1.2' in line 2 and 'no-tlsv13' in line {line}", "write 'ssl-max-ver TLSv1.2' instead"),
        ("no-tlsv12", "force-tlsv12", "no-tlsv12", "'no-tlsv12' is",
         "'force-tlsv12' in line 2 and 'no-tlsv12' in line {line}", "a version alone, or one between others"),
        ("ssl-max-ver TLSv1.3", "no-tlsv12 no-tlsv13", "ssl-max-ver", "'no-tlsv12' and 'no-tlsv13' are",
         "'ssl-max-ver TLSv1.3' in line {line} and 'no-tlsv12' in line 2 and 'no-tlsv13' in line 2",
         "write 'ssl-max-ver TLSv1.1' instead"),
        ("ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.3 no-tlsv12", "", "ssl-min-ver", "'no-tlsv12' is",
         "'ssl-min-ver TLSv1.1' in line {line} and 'ssl-max-ver TLSv1.3' in line {line} and 'no-tlsv12' in line {line}",
         "a version alone, or one between others"),
    ],
)  # fmt: skip
def test_exclusions_beside_a_limit_are_ignored(
    folder: Path, bind: str, default: str, word: str, ignored: str, limits: str, remedy: str
) -> None:
    """As in HAProxy, wherever the two stand; on bind and on server lines."""
    for side, line in (("bind", 8), ("server", 10)):
        items = found(
            f"{SSL} {bind}" if side == "bind" else SSL, server=f"ssl verify none {bind}" if side == "server" else "",
            globals_=f"ssl-default-{side}-options {default}" if default else "",
        )
        one = next(item for item in items if place(item)[1] == line)
        assert one.severity is Severity.WARNING and place(one) == ("x.cfg", line, word)
        assert one.message == f"{ignored} ignored where 'ssl-min-ver' or 'ssl-max-ver' stands: {limits.format(line=line)}"
        assert (one.remedy or "").startswith(remedy)


def test_exclusions_that_the_limits_say_too_are_nothing_to_speak_of(folder: Path) -> None:
    assert found(f"{SSL} no-sslv3 no-tlsv10", globals_="ssl-default-bind-options no-tlsv11 ssl-min-ver TLSv1.2") == []


def test_default_curves_go_before_ecdhe(folder: Path) -> None:
    (one,) = found(f"{SSL} ecdhe P-521", globals_="ssl-default-bind-curves P-384")
    assert place(one) == ("x.cfg", 8, "ecdhe")
    assert one.message == "'ecdhe' has no effect beside 'ssl-default-bind-curves'"


WRONG = [
    ("verify required ca-file nosuch", "ca-file"), ("verify required ca-file ca.pem ca-verify-file nosuch", "ca-verify-file"),
    ("verify required ca-file ca.pem crl-file nosuch", "crl-file"), ("ciphers FOO", "FOO"), ("sigalgs FOO", "FOO"),
    ("ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2", "ssl-min-ver"), ("ecdhe prime257v1", "prime257v1"),
    ("ssl-max-ver TLSv1.1", "TLSv1.1"), ("verify required ca-file @system-ca", "@system-ca"),
    ("verify required ca-verify-file @system-ca", "@system-ca"), ("verify required", "verify"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "word"), [*WRONG, ("force-tlsv11", "force-tlsv11"), ("no-tlsv12 no-tlsv13", "no-tlsv12")])
def test_options_of_bind_lines(folder: Path, options: str, word: str) -> None:
    (one,) = found(f"{SSL} {options}")
    assert place(one) == ("x.cfg", 8, word)


@pytest.mark.parametrize(("options", "word"), WRONG)
def test_options_of_crt_lists(folder: Path, options: str, word: str) -> None:
    (folder / "a.list").write_text(f"site.pem [{options}] shop.example\n")
    (one,) = found("ssl crt-list a.list")
    assert place(one) == ("a.list", 1, word)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("ssl verify required ca-file nosuch", "ca-file"), ("ssl ca-file ca.pem crl-file nosuch", "crl-file"),
        ("ssl verify none curves FOO", "FOO"), ("ssl verify none alpn h2", "h2"),
        ("ssl ca-file ca.pem verifyhost .x", "verifyhost"), ("ssl verify none check check-alpn h2", "h2"),
    ],
)  # fmt: skip
def test_options_of_server_lines(folder: Path, options: str, word: str) -> None:
    (one,) = found(server=options)
    assert place(one) == ("x.cfg", 10, word)


def test_what_was_written_is_named(folder: Path) -> None:
    (one,) = found(f"{SSL} ecdhe prime257v1")
    assert one.message.startswith("ecdhe 'prime257v1':") and one.nearest == "prime256v1"
    (one,) = found(f"{SSL} verify required ca-verify-file @system-ca")
    assert one.message.startswith("ca-verify-file @system-ca ")
    (one,) = found(server="ssl verify none check check-alpn h2")
    assert one.message.startswith("check-alpn h2:")


@pytest.mark.parametrize("where", ["bind", "server", "global"])
def test_a_single_misspelt_cipher(folder: Path, where: str) -> None:
    bind = f"{SSL} ciphers HIHG" if where == "bind" else SSL
    server = "ssl verify none" + (" ciphers HIHG" if where == "server" else "")
    (one,) = found(bind, server=server, globals_="ssl-default-server-ciphers HIHG" if where == "global" else "")
    assert one.message.endswith("'HIHG' selects nothing: there is no 'HIHG'") and one.nearest == "HIGH"
    assert place(one)[2] == "HIHG"


def test_nothing_is_said_to_be_passed_over_of_a_list_that_is_refused(folder: Path) -> None:
    assert codes(server="ssl verify none ciphers HIHG ciphersuites FOO") == []
    assert codes(server="ssl verify none ciphersuites FOO") == []
    assert codes(server="ssl verify none ciphers HIHG:HIGH") == ["tls-unknown-algorithm"]


@pytest.mark.parametrize(
    ("written", "content", "message"),
    [
        ("ssl-dh-param-file", None, "cannot read DH parameter file 'file': No such file"),
        ("ssl-dh-param-file", "junk", "no DH parameters in 'file'"),
        ("issuers-chain-path", None, "cannot read directory of issuers-chain-path 'file': No such file"),
    ],
)
def test_files_of_the_global_section(folder: Path, written: str, content: str | None, message: str) -> None:
    if content is not None:
        (folder / "file").write_text(content)
    (one,) = found(globals_=f"{written} file")
    assert one.message.startswith(message) and place(one) == ("x.cfg", 2, "file")
    assert content is not None or one.remedy == "relative names start at the working directory"


def test_a_bad_chain_of_issuers(folder: Path) -> None:
    (folder / "chains").mkdir()
    (folder / "chains" / "a.pem").write_text("junk")
    (one,) = found(globals_="issuers-chain-path chains")
    assert one.message.startswith("'chains/a.pem' is not a PEM file") and place(one) == ("x.cfg", 2, "chains")
    assert one.remedy is not None and "private key" not in one.remedy


def test_where_relative_names_start(folder: Path) -> None:
    at = "relative names start at the working directory, or at"
    remedies = {
        f"{SSL} verify required ca-file nosuch": f"{at} ca-base of the global section",
        "ssl crt nosuch": f"{at} crt-base of the global section",
        "ssl crt /nosuch": None,
    }
    assert {bind: found(bind)[0].remedy for bind in remedies} == remedies


@pytest.mark.parametrize(
    "bind",
    [
        "ssl crt nosuch", f"{SSL} ciphers HIHG", f"{SSL} verify required ca-file ca.pem crl-file nosuch",
        f"{SSL} generate-certificates ca-sign-file nosuch",
    ],
)  # fmt: skip
def test_pass_phrases_are_not_shown(folder: Path, bind: str) -> None:
    said = "\n".join(render(one) for one in everything(f"{bind} ca-sign-pass s3cret"))
    assert said.startswith("x.cfg:8:") and "s3cret" not in said


def test_the_password_of_a_server_without_an_address_is_not_shown(folder: Path) -> None:
    Path("y.cfg").write_text("backend b\n server web.example tcp-md5sig s3cret\n")
    report = Report()
    load(["y.cfg"], {}, BuildFacts(), report)
    assert report.alerts and "s3cret" not in "\n".join(render(one) for one in report.items)


@pytest.mark.parametrize("option", ["ca-file", "ca-verify-file", "crl-file"])
def test_files_are_loaded_also_where_nothing_is_verified(folder: Path, option: str) -> None:
    warning, error = found(f"{SSL} {option} nosuch")
    assert place(warning) == place(error) == ("x.cfg", 8, option)
    assert warning.message.startswith(f"'{option}' has no effect without 'verify'")
    assert error.message.startswith("cannot read C")
    if option != "ca-verify-file":
        assert place(found(server=f"ssl verify none {option} nosuch")[-1]) == ("x.cfg", 10, option)


def test_a_ca_that_nobody_is_verified_with(folder: Path) -> None:
    (one,) = found(f"{SSL} ca-file ca.pem")
    assert one.message.startswith("'ca-file' has no effect without 'verify'")
    (folder / "a.list").write_text("site.pem [verify required] shop.example\n")
    assert found("ssl crt-list a.list ca-file ca.pem") == []


def test_a_ca_that_signs_nothing(folder: Path) -> None:
    (one,) = found(f"{SSL} ca-sign-file nosuch")
    assert one.message == "'ca-sign-file' has no effect without 'generate-certificates'"
    assert place(one) == ("x.cfg", 8, "ca-sign-file")


@pytest.mark.parametrize(
    ("bind", "said", "word"),
    [
        ("verify required ca-file /nosuch strict-sni", "'verify', 'ca-file', 'strict-sni' have", "verify"),
        ("name n force-tlsv12", "'force-tlsv12' has", "force-tlsv12"), ("crt site.pem", "'crt' has", "site.pem"),
    ],
)  # fmt: skip
def test_options_of_tls_without_it(folder: Path, bind: str, said: str, word: str) -> None:
    (one,) = found(bind)
    assert one.message == f"{said} no effect without 'ssl' on the bind line" and place(one) == ("x.cfg", 8, word)


def test_a_plain_bind_line(folder: Path) -> None:
    assert found("name n no-tls-tickets no-alpn no-strict-sni") == []
