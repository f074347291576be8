"""Certificates as lines name them -> `tls_options`: base directories, crt-stores, crt-list files.

Called by `resolve` for the crt-stores, by `resolve_bind_tls` for what bind lines and `ssl-f-use` name, and by `resolve_lines` for
what server lines present.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass, field
from headgate.config.crt_list import read_crt_list
from headgate.config.drafts import CertificateDraft, ConfigDraft, CrtListFile, CrtStoreDraft, Settings
from headgate.config.source import read_lines
from headgate.config.tls_options import CertificateFile, CertificateLine, CrtList, DummyKey, LoadFiles, PolicyOptions
from headgate.config.written_options import TOLD


@dataclass(slots=True)
class Certificates:
    """What bind lines may refer to.

    Attributes:
        crt_base, key_base: directories of relative names.
        stored: certificates of crt-stores, by all the names that refer to them.
        lists: crt-list files that were read, by name.
        path_base: directory of their relative names (`default-path`).
    """

    crt_base: str = ""
    key_base: str = ""
    stored: Mapping[str, CertificateFile] = field(default_factory=dict)
    lists: dict[str, list[CertificateDraft]] = field(default_factory=dict)
    path_base: str = ""

    def at(self, base: str) -> Certificates:
        """The same where relative names start at `base` unless another option gives them a directory."""
        return Certificates(self.crt_base or base, self.key_base or base, self.stored, self.lists, base)


_NO_FILES = LoadFiles()
#: The name of a frontend and its `ssl-f-use` lines.
FrontendCertificates = tuple[str, Sequence[CertificateDraft]]


def based(path: str | None, base: str) -> str | None:
    """A file name with `crt-base` or `ca-base` in front, unless it is absolute or names no file (`@system-ca`)."""
    if path is None or not base or path.startswith(("/", "@")):
        return path
    return os.path.join(base, path)


def build_certificates(draft: ConfigDraft, report: Report) -> Certificates:
    """Base directories and crt-stores of a configuration (3.1, 12.7)."""
    settings = draft.global_.settings
    crt_base, key_base = settings.value("crt-base", "") or "", settings.value("key-base", "") or ""
    stored: dict[str, CertificateFile] = {}
    for store in draft.crt_stores:
        base = draft.path_bases.get(store.location.file, "")
        _fill(stored, store, _base(store, "crt-base", base, crt_base), _base(store, "key-base", base, key_base), report)
    return Certificates(crt_base, key_base, stored)


def _base(store: CrtStoreDraft, option: str, start: str, common: str) -> str:
    """The directory of a crt-store: its own, that of the global section, or what `default-path` says."""
    own = store.settings.value(option)
    return os.path.join(start, own) if own else common or start


def _fill(stored: dict[str, CertificateFile], store: CrtStoreDraft, crt_base: str, key_base: str, report: Report) -> None:
    for load in store.loads:
        alias = load.settings.value("alias", "")
        source = based(load.path, crt_base) or ""
        names = [f"@{store.name}/{alias}"] if alias else []
        names.append(f"@{store.name}/{load.path}")
        if not store.name:
            names.append(source)
        # Without store and alias it is a file like others: that is how the runtime API calls it.
        name = names[-1] if not store.name and not alias else names[0]
        files = _files(load.settings, crt_base, key_base)
        file = CertificateFile(name, load.location, files, source, detect=False, dummy=_dummy(load.settings, report))
        for one in names:
            earlier = stored.setdefault(one, file)
            if earlier is not file and (one == names[0] or earlier.files != file.files):
                report.alert(f"certificate '{one}' is loaded twice: first in {earlier.location.short}", load.location)


_DUMMY_OPTIONS = ("keytype", "bits", "curves")


def _dummy(settings: Settings, report: Report) -> DummyKey | None:
    """`generate-dummy` with what says how."""
    wanted = settings.is_on("generate-dummy")
    for name in _DUMMY_OPTIONS if not wanted else ():
        if name in settings:
            report.warn(f"'{name}' has no effect without 'generate-dummy on'", settings.place(name), remedy="leave it out")
    if not wanted:
        return None
    for name in ("key", "ocsp", "issuer", "sctl"):
        if name in settings:
            report.warn(f"'{name}' has no effect with 'generate-dummy on': no file is read", settings.place(name))
    usual = DummyKey()
    return DummyKey(
        settings.value("keytype", usual.key_type), settings.value("bits", usual.bits), settings.value("curves", usual.curve)
    )


def _files(settings: Settings, crt_base: str, key_base: str) -> LoadFiles:
    return LoadFiles(
        based(settings.value("key"), key_base),
        based(settings.value("ocsp"), crt_base),
        based(settings.value("issuer"), crt_base),
        based(settings.value("sctl"), crt_base),
        settings.value("ocsp-update"),
    )


def certificate_line(
    draft: CertificateDraft, known: Certificates, options: Callable[[Settings], PolicyOptions]
) -> CertificateLine:
    """A certificate as a bind line, a crt-list or `ssl-f-use` names it.

    Args:
        draft: what was read.
        known: what it may refer to.
        options: makes the options of a policy from those of the line.

    Raises:
        ConfigError: it refers to what no crt-store loads, or to one that is loaded with other files.
    """
    file = certificate_file(draft.path, draft.location, known, _files(draft.settings, known.crt_base, known.key_base))
    own = options(draft.settings)
    places = draft.settings.places(TOLD)
    return CertificateLine(file, draft.filters, draft.is_default, own, draft.written, draft.line, draft.location, places)


def certificate_file(path: str, location: Location, known: Certificates, files: LoadFiles = _NO_FILES) -> CertificateFile:
    """A certificate by the name of its file, or by that of a crt-store's.

    Args:
        path: as it was written.
        location: where.
        known: what it may refer to.
        files: what the line says about further files.

    Raises:
        ConfigError: it refers to what no crt-store loads, or to one that is loaded with other files.
    """
    path = based(path, known.crt_base) or ""
    explicit = any((files.key, files.ocsp, files.issuer, files.sctl))
    file = known.stored.get(path)
    if file is None and path.startswith("@"):
        raise config_error(
            f"no crt-store loads '{path}'", location, allowed=[one for one in known.stored if one[0] == "@"], written=path
        )
    if file is None:
        return CertificateFile(path, location, files, detect=not explicit)
    if explicit or files.ocsp_update not in (None, file.files.ocsp_update):
        raise config_error(
            f"certificate '{path}' is loaded by a crt-store ({file.location.short}), and this line says otherwise about it",
            location, remedy="write key, ocsp, issuer, sctl and ocsp-update in the crt-store only",
        )
    return file


def certificate_lines(
    drafts: Iterable[CertificateDraft], known: Certificates, options: Callable[[Settings], PolicyOptions], report: Report
) -> tuple[CertificateLine, ...]:
    """Several; wrong ones are reported and left out."""
    found = []
    for draft in drafts:
        try:
            found.append(certificate_line(draft, known, options))
        except ConfigError as error:
            report.add(error.diagnostic)
    return tuple(found)


def crt_list(
    item: CrtListFile, known: Certificates, options: Callable[[Settings], PolicyOptions], report: Report
) -> CrtList:
    """The lines of a crt-list file, which is read once however many bind lines name it.

    Raises:
        ConfigError: the file can't be read.
    """
    path = os.path.join(known.path_base, item.path)
    drafts = known.lists.get(path)
    if drafts is None:
        try:
            lines = list(read_lines(path))
        except ConfigError as error:
            message = error.diagnostic.message.replace("configuration file", "crt-list")
            raise config_error(message, error.diagnostic.location or item.location) from None
        drafts = known.lists[path] = read_crt_list(lines, path, report)
    return CrtList(path, certificate_lines(drafts, known, options, report), item.location)
