"""What an operator gets wrong: told in clear words with file and line, at once, with exit code 1, and never a traceback."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess

import pytest

from headgate.tls.authority import issue, make_authority
from tests.interop.programs import free_port, headgate_command

TIMEOUTS = "    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
VALID = f"listen web\n    mode http\n{TIMEOUTS}    bind 127.0.0.1:{{port}}\n"


def run(*paths: pathlib.Path, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run headgate on these files until it ends by itself."""
    files = [word for path in paths for word in ("-f", str(path))]
    return subprocess.run(
        [headgate_command(), *(("-c",) if check else ("-db",)), *files],
        capture_output=True, text=True, errors="replace", timeout=seconds, check=False, stdin=subprocess.DEVNULL,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ended with 1 and said all of this."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said, said
    missing = [word for word in words if word.lower() not in said.lower()]
    assert not missing, f"{missing} not in: {said}"


def config(directory: pathlib.Path, text: str) -> pathlib.Path:
    path = directory / "test.cfg"
    path.write_text(text.replace("{port}", str(free_port())).replace("{dir}", str(directory)))
    return path


TLS = "frontend web\n    mode http\n    timeout client 1s\n    bind 127.0.0.1:{port} ssl crt {dir}/site.pem\n"


def test_certificate_that_does_not_exist(tmp_path: pathlib.Path) -> None:
    refused(run(config(tmp_path, TLS)), "test.cfg:4", "site.pem", "no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_certificate_without_permission(tmp_path: pathlib.Path) -> None:
    (tmp_path / "site.pem").write_bytes(issue(make_authority("a"), ["a"]).pem)
    (tmp_path / "site.pem").chmod(0)
    refused(run(config(tmp_path, TLS)), "test.cfg:4", "site.pem", "permission denied")


def test_certificate_that_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "site.pem").write_text("this is no certificate\n")
    refused(run(config(tmp_path, TLS)), "test.cfg:4", "site.pem")


def test_certificate_without_its_key(tmp_path: pathlib.Path) -> None:
    (tmp_path / "site.pem").write_bytes(issue(make_authority("a"), ["a"]).certificate_pem)
    refused(run(config(tmp_path, TLS)), "test.cfg:4", "site.pem", "key")


def test_key_that_does_not_match(tmp_path: pathlib.Path) -> None:
    ours, theirs = (issue(make_authority("a"), ["a"]) for _ in range(2))
    (tmp_path / "site.pem").write_bytes(ours.certificate_pem + theirs.key_pem)
    done = run(config(tmp_path, TLS))
    refused(done, "test.cfg:4", "site.pem", "match")
    assert "PRIVATE" not in done.stdout + done.stderr


def test_ca_file_that_does_not_exist(tmp_path: pathlib.Path) -> None:
    (tmp_path / "site.pem").write_bytes(issue(make_authority("a"), ["a"]).pem)
    text = TLS.replace("site.pem", "site.pem ca-file {dir}/nowhere.pem verify required")
    refused(run(config(tmp_path, text)), "test.cfg:4", "nowhere.pem", "no such file")


def test_address_in_use(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = config(tmp_path, VALID.replace("{port}", str(port)))
        refused(run(path, check=False), "test.cfg:6", f"127.0.0.1:{port}", "address already in use")
        assert run(path).returncode == 0, "-c binds nothing"


def test_port_without_the_right_to_bind_it(tmp_path: pathlib.Path) -> None:
    """As root the right is taken away: CAP_NET_BIND_SERVICE is dropped from the bounding set."""
    privileged = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()
    if int(privileged) < 700:
        pytest.skip("every port may be bound by everybody on this machine")
    path = config(tmp_path, VALID.replace("{port}", "699"))
    command = [headgate_command(), "-db", "-f", str(path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    refused(done, "test.cfg:6", "127.0.0.1:699", "permission denied")


def test_address_that_is_not_ours(tmp_path: pathlib.Path) -> None:
    path = config(tmp_path, VALID.replace("127.0.0.1", "192.0.2.1"))
    refused(run(path, check=False), "test.cfg:6", "192.0.2.1", "assign")


def test_unknown_host_name(tmp_path: pathlib.Path) -> None:
    path = config(tmp_path, VALID + "    server one no-such-host.invalid:80\n")
    refused(run(path, check=False), "test.cfg:7", "no-such-host.invalid", "resolve")


def test_empty_file(tmp_path: pathlib.Path) -> None:
    refused(run(config(tmp_path, ""), check=False), "test.cfg")


def test_directory_as_a_file(tmp_path: pathlib.Path) -> None:
    """A directory stands for the .cfg files in it (management manual, `-f`)."""
    config(tmp_path, VALID)
    assert run(tmp_path).returncode == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(empty)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr


def test_file_that_does_not_exist(tmp_path: pathlib.Path) -> None:
    refused(run(tmp_path / "nowhere.cfg"), "nowhere.cfg", "no such file")


def test_file_that_is_not_text(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "test.cfg"
    path.write_bytes(bytes(range(256)) * 16)
    refused(run(path), "test.cfg:1")


def test_a_hundred_megabytes_of_comments(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "test.cfg"
    line = b"# " + b"x" * 997 + b"\n"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(line * 1000)
        file.write(VALID.replace("{port}", str(free_port())).encode())
    done = run(path, seconds=110)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1) and "Traceback" not in said, said[-2000:]
    if done.returncode == 1:
        assert "test.cfg" in said, said[-2000:]


def test_a_hundred_megabytes_of_nonsense_are_not_echoed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "test.cfg"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"z" * (1 << 20))
    done = run(path, seconds=110)
    refused(done, "test.cfg:1")
    assert len(done.stdout + done.stderr) < 100_000


def test_every_error_in_one_run(tmp_path: pathlib.Path) -> None:
    text = VALID + "    balnce roundrobin\n    timeout conect 5s\n    default_backend appp\nbackend app\n    server a\n"
    done = run(config(tmp_path, text))
    refused(done, "test.cfg:7", "balance", "test.cfg:8", "connect", "test.cfg:9", "appp", "app", "test.cfg:11")
