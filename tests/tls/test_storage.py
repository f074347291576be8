"""What is loaded once, replaced as a whole, and told to those who use it."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.config.tls_options import CertificateFile
from headgate.tls.storage import Entry, Membership, Storage
from tests.tls.tls_peers import HERE, Pki


class Listening:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.membership: Membership | None = None

    def replaced(self, entry: Entry[Any]) -> None:
        self.heard.append(entry.name)


def test_a_file_is_read_once(pki: Pki) -> None:
    storage = Storage()
    file = CertificateFile(pki.path("a.pem"), HERE)
    entry = storage.certificate(file)
    assert storage.certificate(file) is entry and list(storage.entries()) == [entry]
    assert storage.authority(pki.ca, HERE) is storage.authority(pki.ca, HERE)


def test_what_is_wrong_is_not_kept(pki: Pki) -> None:
    storage = Storage()
    with pytest.raises(ConfigError):
        storage.certificate(CertificateFile("/nowhere", HERE))
    assert not storage.certificates


def test_users_hear_of_replacements_as_long_as_they_live(pki: Pki) -> None:
    storage = Storage()
    entry = storage.certificate(CertificateFile(pki.path("a.pem"), HERE))
    other = storage.certificate(CertificateFile(pki.path("b.pem"), HERE))
    user, gone = Listening(), Listening()
    heard = gone.heard
    user.membership, gone.membership = storage.join(user), storage.join(gone)
    del gone
    gc.collect()
    storage.replace(entry, other.contents)
    assert entry.contents is other.contents and entry.generation == 1 and other.generation == 0
    assert user.heard == [entry.name] and heard == []
