"""`crt-watch <interval>` (our own keyword): files of certificates are looked at, and what has changed takes effect everywhere.

In the process that answers for all. A changed file is judged as a commit of the runtime API is: one that is wrong, expired, older
or not valid for the names that are served stays outside, with a warning that says why. CA files and revocation lists likewise;
keys of tickets have no dates.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from headgate.admin.registry import CommandError
from headgate.admin.tls.files import FROM_FILE
from headgate.admin.tls.ticket_keys import installing
from headgate.app.api import whole
from headgate.base.diagnostics import ConfigError
from headgate.base.records import dataclass
from headgate.runtime.logs.emitters import log_event
from headgate.tls.objections import judge, objection
from headgate.tls.pem import read_authorities
from headgate.tls.revocation import read_revocations
from headgate.tls.storage import CertificateEntry, Storage
from headgate.tls.ticket_keys import read_ticket_keys
from headgate.tls.transactions import text_of

if TYPE_CHECKING:
    from headgate.app.process import App

_WARNING, _NOTICE = 4, 5

#: What says that a file is another one, or has other contents: device, inode, size, time of change. None: it is not there.
_Stamp = tuple[int, int, int, int] | None


@dataclass(slots=True)
class _Watched:
    """Something of the storage that comes from files.

    Attributes:
        kind: "cert", "ca-file", "crl-file" or "tls-keys".
        name: in the storage.
        paths: the files.
        stamps: of the files as they were looked at last.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    stamps: tuple[_Stamp, ...]


class CertificateWatch:
    """Looks at the files each `interval` seconds.

    Args:
        app: the process.
        storage: what was loaded.
        interval: seconds.
        loaded: when the files began to be read, Unix time: what has changed since then is read again.
    """

    def __init__(self, app: App, storage: Storage, interval: float, loaded: float) -> None:
        self._app = app
        self._storage = storage
        self._interval = interval
        self._watched = [_Watched(kind, name, paths, _stamps(paths, loaded)) for kind, name, paths in _files(storage)]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.ensure_future(self._watch())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval)
            # Thousands of files on a slow disk: not in the loop.
            for one, stamps in await loop.run_in_executor(None, self._look):
                one.stamps = stamps
                try:
                    await self._changed(one)
                except Exception as error:
                    self._app.bug(error)

    def _look(self) -> list[tuple[_Watched, tuple[_Stamp, ...]]]:
        """What has changed since the last look. A file that is just being written is found again at the next one."""
        found = []
        for one in self._watched:
            stamps = _stamps(one.paths)
            if stamps != one.stamps:
                found.append((one, stamps))
        return found

    async def _changed(self, one: _Watched) -> None:
        if one.kind != "tls-keys" and one.name not in self._named(one.kind):
            return  # deleted by a command
        try:
            words = self._read(one)
        except ConfigError as error:
            self._refused(one, error.diagnostic.message)
            return
        if isinstance(words, str):
            self._refused(one, words)
            return
        if words is None:
            tls = self._app.control.tls
            if tls is not None:
                tls.followed(one.kind, one.name)
            return
        api = self._app.api
        assert api is not None
        command = api.registry.find((*words, FROM_FILE))
        assert command is not None
        try:
            await whole(api.executor.execute(*command, api.control))
        except CommandError as error:
            self._refused(one, str(error))
            return
        log_event(self._app.logs.process, _NOTICE, f"'{one.name}' has changed and is in use now.")

    def _named(self, kind: str) -> Collection[str]:
        return self._storage.certificates if kind == "cert" else self._storage.of(kind)

    def _refused(self, one: _Watched, why: str) -> None:
        text = f"'{one.name}' has changed but is not put to use: {why}. What was loaded before goes on serving."
        log_event(self._app.logs.process, _WARNING, text)

    def _read(self, one: _Watched) -> Sequence[str] | str | None:
        """The command that puts the files' contents into effect; why they should not be; None when they say nothing new.

        Raises:
            ConfigError: a file is wrong.
        """
        if one.kind == "cert":
            return self._read_certificate(self._storage.certificates[one.name])
        if one.kind == "tls-keys":
            known = self._storage.ticket_keys[one.name]
            keys = read_ticket_keys(one.name, known.location)
            return None if keys == known.contents else installing(one.name, keys)
        read: Callable[..., Sequence[object]] = read_authorities if one.kind == "ca-file" else read_revocations
        entry = self._storage.of(one.kind)[one.name]
        found = read(one.name, entry.location)
        if tuple(found) == tuple(entry.contents):
            return None
        judgement = judge(one.kind, entry.contents, found, time.time())
        if judgement.objection is not None:
            return judgement.objection
        for warning in judgement.warnings:
            log_event(self._app.logs.process, _WARNING, f"'{one.name}': {warning}")
        text = b"".join(item.public_bytes(Encoding.PEM) for item in found).decode("ascii")  # type: ignore[attr-defined]
        return ("install", "ssl", one.kind, one.name, text)

    def _read_certificate(self, entry: CertificateEntry) -> Sequence[str] | str | None:
        reader = self._storage.reader
        try:
            made = reader.read(entry.file)
        finally:
            reader.forget()
        before = entry.contents
        text = text_of(made)
        if text == text_of(before):
            return None
        why = objection(before, made, time.time()) if made.leaf != before.leaf else None
        if why is not None:
            return why
        return ("install", "ssl", "cert", entry.name, text.pem, text.issuer, text.ocsp, text.sctl)


def _files(storage: Storage) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, name and files of all that comes from files."""
    for name, entry in storage.certificates.items():
        yield "cert", name, storage.reader.paths(entry.file)
    for kind in ("ca-file", "crl-file"):
        for name in storage.of(kind):
            yield kind, name, (name,)
    for name in storage.ticket_keys:
        yield "tls-keys", name, (name,)


def _stamps(paths: Sequence[str], before: float = math.inf) -> tuple[_Stamp, ...]:
    """Of files as they are; None for those that are not older than `before`, Unix time."""
    found = [_stamp(path) for path in paths]
    return tuple(stamp if stamp is None or stamp[3] < before * 1e9 else None for stamp in found)


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
