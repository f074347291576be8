"""Deliberate mistakes in TLS, each its own file: `headgate -c` names each with its line, what follows from it and what to do.

`mistakes/NAME.cfg` must give `mistakes/NAME.txt`, and docs/operating.md has a table of all of them beside what HAProxy says.
"""

from __future__ import annotations

import base64
import datetime
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from headgate.cli.main import main
from headgate.tls.authority import Authority, Issued, issue, make_authority, revoke
from tests.tls.lint.forge import days, make, must_staple, signed_with

FOLDER = Path(__file__).with_name("mistakes")
NAMES = sorted(path.stem for path in FOLDER.glob("*.cfg"))
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
#: Where HAProxy's answers in the table come from.
HAPROXY = "2.6."

#: The crt-lists of some.
LISTS = {
    "pki/filters.txt": "pki/site.pem shop.example blog.example", "pki/deep.txt": "pki/site.pem a.b.shop.example",
    "pki/twice.txt": "pki/site.pem shop.example\npki/site.pem [verify required ca-file pki/ca.pem] shop.example",
}  # fmt: skip

Check = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The mistakes with their certificates. Everybody may pass, since one of the mistakes is a key that everybody can read."""
    path = Path(tempfile.mkdtemp(prefix="headgate-mistakes-"))
    try:
        path.chmod(0o755)
        (path / "pki").mkdir(0o700)
        (path / "open").mkdir(0o755)
        for file in FOLDER.glob("*.cfg"):
            shutil.copy(file, path)
        _Pki(path)
        yield path
    finally:
        shutil.rmtree(path)


class _Pki:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pki"
        self.now = now = datetime.datetime.now(datetime.UTC)
        root, old = make_authority("Acme Root", key="rsa"), {"not_before": days(-99, now), "not_after": days(-3.5, now)}
        self.root = root
        middle = make_authority("Acme Intermediate CA", parent=root)
        expired_middle = make_authority("Acme Old CA", parent=root, **old)
        weak = rsa.generate_private_key(65537, 1024)
        weak_ca = make(root, ["Acme Clients"], key=weak, extensions=[x509.BasicConstraints(True, None)], now=now)
        site = issue(root, ["shop.example", "*.shop.example"])
        self.write("ca.pem", root.certificate_pem)
        (self.folder / "clients").mkdir()  # not beside the certificates, where the chain that lacks it would find it
        self.write("clients/intermediate-ca.pem", middle.certificate_pem)
        self.write("clients/intermediate.crl", revoke(middle, next_update=days(99, now)))
        self.write("old-ca.pem", make_authority("Acme Clients", **old).certificate_pem)
        self.write("clients/weak-ca.pem", weak_ca.certificate_pem + root.certificate_pem)
        self.write("site.pem", site.pem)
        self.write("rsa.pem", issue(root, ["shop.example"], key="rsa").pem)
        without = issue(middle, ["shop.example"])
        self.write("no-chain.pem", without.certificate_pem + without.key_pem)
        self.write("old-intermediate.pem", issue(expired_middle, ["shop.example"]).pem)
        for name, begin, end in (("expired", -99, -3.5), ("early", 7, 99), ("soon", -80, 10.5)):
            self.write(f"{name}.pem", self.valid(["shop.example"], begin, end).pem)
        self.write("mismatch.pem", site.certificate_pem + without.key_pem)
        self.write("no-key.pem", site.certificate_pem)
        self.write("weak.pem", make(root, ["shop.example"], key=weak, now=now).pem)
        signer = make(root, ["Acme Weak CA"], key=weak, now=now)
        below = issue(Authority(signer.certificate, weak, (signer.certificate,)), ["shop.example"])
        self.write("weak-intermediate.pem", below.pem)
        self.write("sha1.pem", Issued(signed_with(5, site.certificate), site.key).pem)
        (self.folder / "two").mkdir()
        self.write("two/2029.pem", self.valid(["shop.example"], -99, -3.5).pem)
        self.write("two/2030.pem", issue(root, ["shop.example"]).pem)
        self.write("must-staple.pem", make(root, ["shop.example"], extensions=[must_staple()], now=now).pem)
        for name, line in LISTS.items():
            self.write(f"../{name}", f"{line}\n".encode())
        self.write("../open/site.pem", site.pem)
        self.write("../open/ticket.keys", b"".join(base64.b64encode(bytes([number]) * 80) + b"\n" for number in range(3)))
        for name in ("site.pem", "ticket.keys"):
            (folder / "open" / name).chmod(0o644)

    def valid(self, names: list[str], begin: float, end: float) -> Issued:
        return issue(self.root, names, not_before=days(begin, self.now), not_after=days(end, self.now))

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(data)


@pytest.fixture
def check(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def check(*arguments: str) -> tuple[int, str]:
        code = main(["-c", *arguments])
        return code, capfd.readouterr().err

    return check


def without_what_changes(text: str) -> str:
    """Messages without process id and dates."""
    text = re.sub(r" \(\d+\) : ", " : ", text)
    return re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", "DATE", text)


@pytest.mark.parametrize("name", NAMES)
def test_is_found(name: str, check: Check) -> None:
    code, said = check("--strict", "-f", f"{name}.cfg")
    assert code == 1
    found = without_what_changes(said)
    expected = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_is_said_with_line_consequence_and_remedy(name: str) -> None:
    """What must be in every expectation, however it was written."""
    first, *rest = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    match = re.match(r"\[(ALERT|WARNING)\] +: config : parsing \[(\S+):(\d+)\] : (.*)", first)
    assert match is not None
    file = FOLDER / match[2]
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else LISTS[match[2]].splitlines()
    shown = rest[0].removeprefix("   | ").strip()
    assert shown in lines[int(match[3]) - 1]
    assert "^" in rest[1]
    assert len(rest) > 3, "a remedy"
    if match[1] == "WARNING":
        assert re.search(r": .* \[[a-z-]+\]$", match[4]), "a consequence and a code"


@pytest.mark.parametrize("name", NAMES)
def test_fails_the_strict_check_only_and_can_be_silenced(name: str, check: Check, folder: Path) -> None:
    code, said = check("-f", f"{name}.cfg")
    if "[ALERT]" in said:
        assert code == 1  # with or without `--strict`
        return
    assert code == 0
    codes = sorted(set(re.findall(r"\[([a-z]+-[a-z-]+)\]$", said, re.MULTILINE)))
    assert codes
    assert check("-dW", "-f", f"{name}.cfg")[0] == 0  # what gets old must not keep a site from starting
    (folder / "silence.cfg").write_text(f"global\n    lint-ignore {' '.join(codes)}\n")
    assert check("--strict", "-f", "silence.cfg", "-f", f"{name}.cfg") == (0, "")


def test_there_are_enough() -> None:
    assert len(NAMES) >= 20


# --- the table in the manual ---


def table() -> dict[str, tuple[str, str]]:
    """The mistakes of the page: what each is, and what both programs say."""
    rows = re.findall(r"^\| (.+) \| (`[a-z-]+`|error) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {what: (ours, theirs) for what, ours, theirs in rows}


def title(name: str) -> str:
    return (FOLDER / f"{name}.cfg").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_it(name: str) -> None:
    said = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    code = re.search(r"\[([a-z]+-[a-z-]+)\]$", said, re.MULTILINE)
    assert table()[title(name)][0] == ("error" if "[ALERT]" in said.splitlines()[0] else f"`{code[1]}`" if code else "")


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_haproxy_finds(name: str, folder: Path) -> None:
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, timeout=30, check=True).stdout
    if f"version {HAPROXY}" not in version:
        pytest.skip(f"the page is about HAProxy {HAPROXY}x")
    done = subprocess.run(
        ["haproxy", "-c", "-f", f"{name}.cfg"], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    found = "error" if done.returncode else "warning" if "[WARNING]" in done.stderr else "nothing"
    assert table()[title(name)][1] == found, done.stderr
