"""Bind lines that `headgate -c` says nobody can connect to: real clients that allow everything try."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headgate.tls.authority import issue, make_authority
from tests.interop.handshake_clients import NAME, Visit, s_client
from tests.interop.programs import Program, check_config, free_ports, start_subject

pytestmark = [pytest.mark.xdist_group("unreachable-lines"), pytest.mark.needs("openssl")]

_EVERYTHING = (
    "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "DSA+SHA256:RSA+SHA256:RSA-PSS+SHA256:ECDSA+SHA256:ECDSA+SHA384",
)  # fmt: skip
_DHE = "ciphers DHE-RSA-AES256-GCM-SHA384"
#: Behind `bind ... ssl`: what is found, and the versions that clients can connect with.
LINES = {
    "crt rsa.pem": ("", "1.2 1.3"),
    f"crt rsa.pem {_DHE} ssl-max-ver TLSv1.2": ("tls-unusable-ciphers", ""),
    f"crt rsa.pem {_DHE}": ("tls-unusable-ciphers", "1.3"),
    "crt dsa.pem": ("tls-unusable-ciphers", ""),
    "crt dsa.pem ciphers ALL": ("tls-unusable-ciphers", ""),  # DHE-DSS, and no parameters
    "crt rsa.pem sigalgs ECDSA+SHA256": ("tls-unusable-sigalgs", ""),
    "crt rsa.pem sigalgs RSA+SHA256": ("tls-unusable-sigalgs", "1.2"),
    "crt rsa.pem sigalgs RSA-PSS+SHA256": ("", "1.2 1.3"),
    "crt ecdsa.pem sigalgs RSA-PSS+SHA256": ("tls-unusable-sigalgs", ""),
    "crt ecdsa.pem sigalgs ECDSA+SHA384": ("tls-unusable-sigalgs", "1.2"),
    "crt ecdsa.pem sigalgs ECDSA+SHA256": ("", "1.2 1.3"),
    "crt ecdsa.pem crt rsa.pem sigalgs RSA-PSS+SHA256": ("", "1.2 1.3"),
    "crt ecdsa.pem curves X25519MLKEM768 ssl-max-ver TLSv1.2": ("tls-unusable-groups", ""),
    "crt ecdsa.pem curves SecP256r1MLKEM768:ffdhe2048": ("tls-unusable-groups", "1.3"),
    "crt ecdsa.pem curves X25519MLKEM768:P-256": ("", "1.2 1.3"),
    "crt rsa.pem curves ffdhe2048": ("", "1.2 1.3"),  # with RSA alone, which needs no group
    "crt rsa.pem curves ffdhe2048 ciphers ECDHE+AESGCM": ("tls-unusable-groups", "1.3"),
    'crt ecdsa.pem ciphersuites ""': ("tls-unusable-ciphers", ""),
    'crt ecdsa.pem ciphersuites "" ssl-max-ver TLSv1.2': ("", "1.2"),
    "crt ecdsa.pem verify optional ca-file ca.pem client-sigalgs RSA+SHA256": ("tls-unusable-sigalgs", "1.2"),
    "crt ecdsa.pem verify optional ca-file ca.pem client-sigalgs RSA+SHA256:RSA-PSS+SHA256": ("", "1.2 1.3"),
    "crt ecdsa.pem client-sigalgs RSA+SHA256": ("", "1.2 1.3"),  # nobody is asked
}
#: The same with `tune.ssl.default-dh-param 2048`.
WITH_PARAMETERS = {
    f"crt rsa.pem {_DHE}": ("", "1.2 1.3"),
    "crt dsa.pem": ("tls-unusable-ciphers", ""),
    "crt dsa.pem ciphers ALL": ("tls-unusable-ciphers", "1.2"),
    "crt dsa.pem ciphers ALL ssl-max-ver TLSv1.2": ("", "1.2"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("unreachable")
    root = make_authority("Root")
    files = {
        "ca.pem": root.certificate_pem, "ecdsa.pem": issue(root, [NAME]).pem,
        "rsa.pem": issue(root, [NAME], key="rsa").pem, "dsa.pem": _dsa(),
    }  # fmt: skip
    for name, data in files.items():
        (path / name).touch(0o600)
        (path / name).write_bytes(data)
    return path


def _dsa() -> bytes:
    """A certificate of its own for a DSA key, and the key."""
    key, now = dsa.generate_private_key(2048), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + 90 * day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _config(directory: pathlib.Path, options: list[str], ports: list[int], start: str) -> str:
    lines = ["global", f"    crt-base {directory}", f"    ca-base {directory}", f"    {start}".rstrip()]
    lines += ["defaults", "    mode http"]
    lines += [f"    timeout {one} 10s" for one in ("client", "server", "connect")]
    for number, (one, port) in enumerate(zip(options, ports, strict=True)):
        lines += [f"frontend f{number}", f"    bind 127.0.0.1:{port} ssl {one}"]
        lines += ["    http-request return status 200 content-type text/plain string ok"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def ports(directory: pathlib.Path) -> Iterator[dict[tuple[str, bool], int]]:
    """Of each line, without and with DH parameters."""
    found: dict[tuple[str, bool], int] = {}
    programs: list[Program] = []
    with contextlib.ExitStack() as stack:
        for rows, start in ((LINES, ""), (WITH_PARAMETERS, "tune.ssl.default-dh-param 2048")):
            numbers = free_ports(len(rows))
            config = _config(directory, [*rows], numbers, start)
            programs.append(start_subject("headgate", config, directory, numbers, name=f"headgate{len(programs)}"))
            stack.callback(programs[-1].stop)
            found |= {(one, bool(start)): number for one, number in zip(rows, numbers, strict=True)}
        yield found


ROWS = [(one, False, *row) for one, row in LINES.items()] + [(one, True, *row) for one, row in WITH_PARAMETERS.items()]


@pytest.mark.parametrize(("options", "parameters", "code", "versions"), ROWS)
def test_clients_come_in_where_nothing_is_said(
    options: str, parameters: bool, code: str, versions: str, ports: dict[tuple[str, bool], int], directory: pathlib.Path
) -> None:
    for version in ("1.2", "1.3"):
        visit = Visit(ports[options, parameters], version, directory)
        assert s_client(*_EVERYTHING)(visit) is (version in versions), version
    path = directory / "checked.cfg"
    path.write_text(_config(directory, [options], [1], "tune.ssl.default-dh-param 2048" if parameters else ""))
    _, said = check_config("headgate", path)
    assert (f"[{code}]" in said) if code else "[tls-unusable" not in said
    if code:
        assert ("no client at all" in said) is (not versions), said
