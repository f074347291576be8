"""Sockets of a whole configuration: keys, inheritance, and the files of unix sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.model import Config
from headgate.config.predicates import BuildFacts
from headgate.runtime.listening import OpenFailed, SocketFiles, address_keys, open_sockets

_FACTS = BuildFacts(version="3.5.0", features=frozenset(), tls_library=lambda: "", enabled=frozenset())


def config(tmp_path: Path, binds: str, settings: str = "") -> Config:
    path = tmp_path / "a.cfg"
    times = "timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
    path.write_text(f"global\n{settings}defaults\n mode tcp\n {times}frontend f\n{binds}")
    report = Report()
    loaded = load([str(path)], dict(os.environ), _FACTS, report)
    assert loaded is not None, [item.message for item in report.items]
    return loaded


def keys(made: Config) -> list[tuple[str, ...]]:
    return list(address_keys(made).values())


def test_keys_say_what_is_bound(tmp_path: Path) -> None:
    made = config(
        tmp_path,
        " bind 127.0.0.1:8000-8001\n bind :80\n bind [::1]:81 v6only\n bind :::82 v4v6\n bind /run/x\n bind abns@y\n"
        " bind 127.0.0.1:8000 interface lo transparent\n bind localhost:83\n bind 127.0.0.1:8000\n",
        " stats socket /run/s\n",
    )
    assert keys(made) == [
        ("ipv4@127.0.0.1:8000", "ipv4@127.0.0.1:8001"), ("ipv4@*:80",), ("ipv6@[::1]:81",), ("ipv6@[::]:82;v4v6",),
        ("unix@/run/x",), ("abns@y",), ("ipv4@127.0.0.1:8000;interface=lo;transparent",), ("name@localhost:83",),
        ("ipv4@127.0.0.1:8000#2",),
        ("unix@/run/s",),
    ]  # fmt: skip


def test_what_is_wanted_again_is_inherited(tmp_path: Path) -> None:
    first = open_sockets(config(tmp_path, f" bind 127.0.0.1:0\n bind {tmp_path}/u\n"), {})
    second = open_sockets(config(tmp_path, f" bind 127.0.0.1:0\n bind {tmp_path}/u\n bind abns@headgate-{os.getpid()}\n"), first)
    assert [second[key] is first[key] for key in first] == [True, True]
    assert len(second) == 3
    (tmp_path / "u").unlink()
    third = open_sockets(config(tmp_path, f" bind {tmp_path}/u\n"), second)
    assert third[f"unix@{tmp_path}/u"] is not first[f"unix@{tmp_path}/u"]
    for sock in {*second.values(), *third.values()}:
        sock.close()


def test_all_lines_that_fail_are_named_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OpenFailed) as caught:
            open_sockets(config(tmp_path, f" bind abns@headgate-x{os.getpid()}\n bind 127.0.0.1:{port}\n bind /absent/x\n"), {})
    assert len(caught.value.diagnostics) == 2
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind("\0" + f"headgate-x{os.getpid()}".ljust(107, "\0"))


def test_files_are_removed_unless_they_are_somebody_elses(tmp_path: Path) -> None:
    sockets = {}
    for name in ("kept", "gone", "replaced"):
        sockets[name] = socket.socket(socket.AF_UNIX)
        sockets[name].bind(str(tmp_path / name))
    files = SocketFiles()
    files.note([f"unix@{tmp_path}/{name}" for name in sockets] + ["ipv4@*:80"])
    files.note([f"unix@{tmp_path}/kept", f"unix@{tmp_path}/replaced"])
    assert not (tmp_path / "gone").exists()
    (tmp_path / "replaced").unlink()
    (tmp_path / "replaced").touch()
    files.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["replaced"]
    for sock in sockets.values():
        sock.close()
