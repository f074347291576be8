"""Listening sockets: what is there when a client can find it, and what is left when it can't be had."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Location
from headgate.config.model import Bind, UnixPermissions
from headgate.runtime import sockets
from headgate.runtime.sockets import open_listeners

PLACE = Location("x.cfg", 1)


def unix(path: Path, permissions: UnixPermissions | None = None) -> Bind:
    return Bind(Address(Family.UNIX, str(path)), PLACE, permissions=permissions or UnixPermissions())


def test_a_unix_socket_listens_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects to a name that is moved into place is never refused, and finds its permissions set."""
    path = tmp_path / "s"
    seen = []
    rename = os.rename

    def renamed(source: str, target: str) -> None:
        rename(source, target)
        with socket.socket(socket.AF_UNIX) as client:
            seen.append((client.connect_ex(target), stat.S_IMODE(os.stat(target).st_mode)))

    monkeypatch.setattr(sockets.os, "rename", renamed)
    (opened,) = open_listeners(unix(path, UnixPermissions(mode=0o606)), 5)
    opened.close()
    assert seen == [(0, 0o606)]


def test_a_unix_socket_that_can_not_be_had_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot bind socket"):
        open_listeners(unix(tmp_path / "s", UnixPermissions(user="no-such-user-here")), 5)
    assert list(tmp_path.iterdir()) == []


def test_a_unix_socket_takes_the_place_of_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (stale,) = open_listeners(unix(path), 5)
    stale.close()
    (opened,) = open_listeners(unix(path), 5)
    with opened, socket.socket(socket.AF_UNIX) as client:
        assert client.connect_ex(str(path)) == 0
