"""Client authentication that refuses everybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.tls.authority import issue, make_authority, revoke
from tests.tls.lint.forge import days
from tests.tls.lint.test_lines import NOW, frontend, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pki")
    root = make_authority("Root")
    middle = make_authority("Middle", parent=root)
    own = make_authority("Own")
    end = days(99, NOW)
    lists = [revoke(one, next_update=end) for one in (root, middle)]
    files = {
        "site.pem": issue(root, ["shop.example"]).pem, "leaf.crt": issue(root, ["x"], client=True).certificate_pem,
        "root.crt": root.certificate_pem, "middle.crt": middle.certificate_pem,
        "both.crt": root.certificate_pem + middle.certificate_pem, "own.crt": own.certificate_pem,
        "root.crl": lists[0], "middle.crl": lists[1], "both.crl": b"".join(lists),
        "old.crl": revoke(root, last_update=days(-99, NOW), next_update=days(-3, NOW)),
        "early.crl": revoke(root, last_update=days(3, NOW), next_update=end),
    }  # fmt: skip
    for name, data in files.items():
        (path / name).touch(0o600)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ca-file PKI/root.crt", ""),
        ("ca-file PKI/own.crt", ""),
        ("ca-file PKI/middle.crt ca-verify-file PKI/root.crt", ""),
        ("ca-file PKI/leaf.crt", "'PKI/leaf.crt' has no CA in it: all client certificates are refused [tls-no-client-root]"),
        (
            "ca-file PKI/middle.crt",
            "the CA 'CN=Middle' in 'PKI/middle.crt' was issued by 'CN=Root', and no root is there: all client certificates are"
            " refused [tls-no-client-root]",
        ),
        ("ca-file PKI/middle.crt ca-ignore-err 2", ""),
        ("ca-file PKI/leaf.crt crt-ignore-err all", ""),
        ("ca-file PKI/root.crt crl-file PKI/root.crl", ""),
        ("ca-file PKI/both.crt crl-file PKI/both.crl", ""),
        (
            "ca-file PKI/root.crt crl-file PKI/middle.crl",
            "'PKI/middle.crl' has no revocation list of the CA 'CN=Root': all certificates that it issued are refused"
            " [tls-no-revocation-list]",
        ),
        (
            "ca-file PKI/both.crt crl-file PKI/root.crl",
            "'PKI/root.crl' has no revocation list of the CA 'CN=Middle': all certificates that it issued are refused"
            " [tls-no-revocation-list]",
        ),
        ("ca-file PKI/root.crt crl-file PKI/middle.crl crt-ignore-err X509_V_ERR_UNABLE_TO_GET_CRL", ""),
        ("ca-file PKI/root.crt crl-file PKI/middle.crl ca-ignore-err 3", ""),
    ],
)
def test_who_is_trusted(options: str, message: str, folder: Path) -> None:
    items = said(folder, frontend([f"bind :1 ssl crt PKI/site.pem verify required {options}"]))
    assert [item.message for item in items] == ([message.replace("PKI", str(folder))] if message else [])
    assert said(folder, frontend([f"bind :1 ssl crt PKI/site.pem verify none {options}"])) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("crl-file PKI/old.crl", "tls-expired"),
        ("crl-file PKI/old.crl crt-ignore-err 11", "tls-expired"),
        ("crl-file PKI/old.crl crt-ignore-err 12", ""),
        ("crl-file PKI/old.crl crt-ignore-err X509_V_ERR_CRL_HAS_EXPIRED", ""),
        ("crl-file PKI/old.crl crt-ignore-err all", ""),
        ("crl-file PKI/old.crl ca-ignore-err 12", ""),  # who has certificates of CAs below it is let in
        ("crl-file PKI/early.crl", "tls-not-yet-valid"),
        ("crl-file PKI/early.crl crt-ignore-err 11", ""),
    ],
)
def test_what_is_forgiven_is_not_said(options: str, code: str, folder: Path) -> None:
    items = said(folder, frontend([f"bind :1 ssl crt PKI/site.pem verify optional ca-file PKI/root.crt {options}"]))
    assert [item.code for item in items if item.code != "tls-verify-unused"] == ([code] if code else [])
