"""testssl.sh against a default line (`bind ... ssl crt`): nothing of medium severity or worse that is the proxy's doing."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from headgate.tls.authority import issue, make_authority
from tests.interop.conftest import StartProxy

pytestmark = [pytest.mark.slow, pytest.mark.needs("testssl")]

#: Findings that are not the proxy's doing, and whose they are.
OF_OTHERS = {
    "cert_revocation": "the tests' CA names neither a CRL nor an OCSP responder",
    "cert_ocspRevoked": "the same",
    "cert_trust": "the tests' certificate is for localhost",
    "cert_chain_of_trust": "the tests' CA is known to nobody",
    "HSTS": "a header of the application's",
    "security_headers": "headers of the application's",
}
GRAVE = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")


@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_a_default_line(key: str, proxy: StartProxy, tmp_path: pathlib.Path) -> None:
    authority = make_authority("testssl CA")
    issued = issue(make_authority("testssl intermediate", parent=authority), ["localhost", "127.0.0.1"], key=key)
    (tmp_path / "site.pem").write_bytes(issued.pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    started = proxy(
        f"""
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {tmp_path}/site.pem
            http-request return status 200 content-type text/plain string hello
        """
    )
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            "testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--jsonfile", str(report),
            "--add-ca", str(tmp_path / "ca.pem"), f"127.0.0.1:{started.port}",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
    )
    findings = json.loads(report.read_text())
    by_name = {one["id"]: one for one in findings}
    assert by_name.get("TLS1_3", {}).get("severity") == "OK", done.stdout[-2000:]  # it did look
    assert len(findings) > 80
    grave = [one for one in findings if one["severity"] in GRAVE and one["id"].split(" ")[0] not in OF_OTHERS]
    assert not grave, [(one["severity"], one["id"], one["finding"]) for one in grave]
    assert by_name["TLS1"]["finding"].startswith("not offered") and by_name["TLS1_1"]["finding"].startswith("not offered")
