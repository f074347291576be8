"""Good configurations have no findings: the examples, and all configurations of the tests that are valid."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headgate.app.findings import add_findings
from headgate.base.diagnostics import Report
from headgate.cli.main import main
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.tls.authority import issue, make_authority

HERE = Path(__file__).parents[1]
EXAMPLES = HERE.parent / "examples"
VALID = [*HERE.glob("config/golden/*.cfg"), *HERE.glob("config/language/*.cfg"), *EXAMPLES.glob("**/*.cfg")]
#: They show how a line is written, and nothing else is there that could look at the certificates.
TRUE = {"binds": ["tls-verify-unused"], "certificates": ["tls-verify-unused"]}
NOW = datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize("path", sorted(VALID), ids=lambda path: path.stem)
def test_rules_of_all_configurations(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8").partition("\n" + "=" * 40)[0]
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / path.name).write_text(text + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = load([path.name], {}, BuildFacts(), Report())
    if config is None:
        return
    report = Report()
    add_findings(config, {}, report, NOW)
    assert [item.code for item in report.items] == TRUE.get(path.stem, [])


@pytest.mark.parametrize("name", ["blog-modern", "blog-2014", "demo", "statistics"])
def test_examples_with_their_certificates(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the file says how to try it: the same with certificates and names that exist."""
    authority = make_authority("CA")
    for file in ("officialcert", "shop", "blog"):
        (tmp_path / f"{file}.pem").write_bytes(issue(authority, [f"{file}.demo.example"]).pem)
    for file in ("private_ca.crt", "ca.pem"):
        (tmp_path / file).write_bytes(authority.certificate_pem)
    text = (EXAMPLES / f"{name}.cfg").read_text(encoding="utf-8")
    text = re.sub(r"[a-z0-9-]+\.lan", "localhost", text.replace("/etc/ssl/private", str(tmp_path)))
    (tmp_path / "x.cfg").write_text(re.sub(r"^ *(user|group) .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    monkeypatch.setattr(os, "environ", {**os.environ, "DEMO_DIR": str(tmp_path)})
    assert main(["-c", "-f", str(tmp_path / "x.cfg")]) == 0
    assert re.findall(r"\[[a-z]+-[a-z-]+\]$", capfd.readouterr().err, re.MULTILINE) == []


@pytest.mark.needs("openssl")
def test_certificates_as_openssl_makes_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Self-signed in one command, as every guide begins."""
    names = ["-subj", "/CN=www.example", "-addext", "subjectAltName=DNS:www.example"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-keyout", "k.pem", "-out", "c.pem"]
    subprocess.run([*made, *names], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    (tmp_path / "site.pem").write_bytes((tmp_path / "c.pem").read_bytes() + (tmp_path / "k.pem").read_bytes())
    (tmp_path / "x.cfg").write_text(
        "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"
        f"frontend www\n bind :8443 ssl crt {tmp_path}/site.pem\n use_backend b if {{ hdr(host) -i www.example }}\n"
        f"backend b\n server s 127.0.0.1:8443 ssl verify required ca-file {tmp_path}/c.pem verifyhost www.example\n"
    )
    assert main(["-c", "--strict", "-f", str(tmp_path / "x.cfg")]) == 0
    assert capfd.readouterr().err == ""
