"""Certificates that were installed at run time, kept in a directory over reloads and restarts (`crt-state-dir`, our own keyword).

A file for each, readable by its owner only since it holds the private key, written under another name and then renamed. When a
configuration is loaded, what is kept here takes the place of what the certificate's own file holds, unless that file is newer:
then somebody has renewed it there, and it counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.admin.writing import date
from headgate.base.diagnostics import Report, Severity
from headgate.base.records import dataclass
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.storage import Storage
from headgate.tls.transactions import LARGEST, CertificateText, Refused, certified

_SUFFIX = ".json"
_FIELDS = ("pem", "issuer", "ocsp", "sctl")


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate in the directory: its name, its contents, and when it was installed (Unix time)."""

    name: str
    text: CertificateText
    installed: float


class CertificateStates:
    """The directory. It is opened at once, so that it is within reach of a process that enters a jail later.

    Args:
        directory: its path; made when it is not there.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def keep(self, name: str, text: CertificateText, now: float) -> None:
        """Write a certificate down.

        Raises:
            OSError: it can't be written.
        """
        path = _file_name(name)
        content = {"name": name, "installed": now, **{field: getattr(text, field) for field in _FIELDS}}
        scratch = f"{path}.{os.getpid()}"
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(scratch, how, 0o600, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def forget(self, name: str) -> None:
        """Remove what was kept of a certificate."""
        with contextlib.suppress(OSError):
            os.unlink(_file_name(name), dir_fd=self._descriptor)


def _file_name(name: str) -> str:
    """Names are paths: one file name of a fixed length for each."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:40] + _SUFFIX


def _all_kept(directory: str, report: Report) -> Iterator[Kept]:
    """Everything that is kept. What can't be read is warned of."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIX))
    except FileNotFoundError:
        return
    except OSError as error:
        report.warn(f"crt-state-dir '{directory}' can't be read: {error.strerror}", None)
        return
    for name in names:
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                content = json.loads(file.read(LARGEST * 2))
            text = CertificateText(*(str(content[field]) for field in _FIELDS))
            yield Kept(str(content["name"]), text, float(content["installed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Nothing of the content: there is a private key in it.
            report.warn(f"'{path}' in crt-state-dir can't be used: {type(error).__name__}", None, remedy="remove it")


def restore_certificates(directory: str, storage: Storage, report: Report) -> None:
    """Put the certificates that are kept in the place of what their files hold.

    Args:
        directory: `crt-state-dir`.
        storage: what was loaded.
        report: says what serves now, and what was given up.
    """
    for kept in _all_kept(directory, report):
        entry = storage.certificates.get(kept.name)
        when = date(kept.installed, 0)
        path = os.path.join(directory, _file_name(kept.name))
        try:
            made = certified(kept.name, kept.text)
        except Refused as refusal:
            text = f"the certificate '{kept.name}' that was installed at run time on {when} can't be used: {refusal}"
            report.warn(text, None, remedy=f"remove '{path}'")
            continue
        made.issuers = storage.reader.issuers
        if entry is None:
            # Unused, but within reach of the commands: one of them may have made it.
            storage.put_certificate(kept.name, made)
            storage.kept[kept.name] = kept.installed
            report.warn(
                f"the certificate '{kept.name}' was installed at run time on {when}; nothing names it now, and it does not serve",
                None, remedy="name it in the configuration or with 'add ssl crt-list', or forget it with"
                f" 'del ssl cert {kept.name}', which removes '{path}'",
            )
            continue
        if made.leaf == entry.contents.leaf and _written(storage.reader.response_path(entry.file)) > kept.installed:
            made.ocsp = entry.contents.ocsp  # fetched since
        if _identity(made) == _identity(entry.contents):
            continue  # the files have followed
        storage.kept[kept.name] = None
        if max(map(_written, storage.reader.paths(entry.file))) > kept.installed:
            report.note(
                Severity.NOTICE,
                f"certificate '{kept.name}': its file is newer than what was installed at run time on {when}, and serves now",
                entry.location,
            )
        else:
            storage.replace(entry, made)
            storage.kept[kept.name] = kept.installed
            report.note(
                Severity.NOTICE,
                f"certificate '{kept.name}': what was installed at run time on {when} serves, not what its file holds",
                entry.location,
            )


def drifted(changes: str, storage: Storage) -> list[str]:
    """What a reload takes back of that which was changed at run time: a warning for each.

    Args:
        changes: what the process before answers to `show ssl changes`.
        storage: what this one has loaded.
    """
    found = []
    for line in changes.splitlines():
        kind, state, at, digest, name = (line.split(" ", 4) + [""] * 5)[:5]
        if state not in ("kept", "lost") or (state == "kept" and name in storage.kept):
            continue
        now = digest_of(kind, name, storage)
        if digest == now:
            continue
        when = date(float(at), 0) if at.isdecimal() else "?"
        remedy = "crt-state-dir keeps such certificates" if kind == "cert" else "write the change to the file too"
        becomes = "goes back to what its file holds" if now != _NOTHING else "forgets it: no file has it"
        found.append(f"{_CALLED.get(kind, kind)} '{name}' was changed at run time on {when}; this reload {becomes} ({remedy})")
    return found


#: The digest of what is not there.
_NOTHING = "-"


_CALLED = {"cert": "certificate", "ca-file": "CA file", "crl-file": "CRL file", "tls-keys": "ticket key file"}


def digest_of(kind: str, name: str, storage: Storage) -> str:
    """What makes what stands behind a name the same, in words of `show ssl changes`; `_NOTHING` for nothing."""
    digest = hashlib.sha256()
    if kind == "cert" and name in storage.certificates:
        for part in _identity(storage.certificates[name].contents):
            digest.update(b"%d:%s" % (len(part), part))
    elif kind in ("ca-file", "crl-file") and name in storage.of(kind):
        for one in storage.of(kind)[name].contents:
            digest.update(one.fingerprint(SHA256()))
    elif kind == "tls-keys" and name in storage.ticket_keys:
        digest.update(b"".join(storage.ticket_keys[name].contents))
    elif kind == "crt-list" and name in storage.lists:
        for one in storage.lists[name].lines:
            text = f"{one.entry.name} {one.line.written} {' '.join(one.line.filters)}\n"
            digest.update(text.encode("utf-8", "surrogateescape"))
    else:
        return _NOTHING
    return digest.hexdigest()[:32]


def _identity(one: CertifiedKey) -> tuple[bytes, ...]:
    """What makes two certificates the same for those who use them. The leaf says which private key it is."""
    signer = one.signer
    above = [each.public_bytes(Encoding.DER) for each in (*one.chain, *(() if signer is None else (signer,)))]
    return one.leaf, one.ocsp or b"", one.sctl or b"", one.dh_parameters or b"", *above


def _written(path: str) -> float:
    """When a file was last changed, Unix time; 0.0 when that is not known."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
