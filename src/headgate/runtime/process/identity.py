"""Who the process runs as: `user`, `group`, `uid`, `gid`, `setcap` and `chroot` of the global section (manual 3.1).

Names are looked up while the configuration is checked, privileges are dropped after all sockets are bound.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import time
from collections.abc import Callable, Collection
from typing import NoReturn

from headgate.base.diagnostics import config_error
from headgate.base.records import dataclass
from headgate.config.model import Global


@dataclass(frozen=True, slots=True)
class Identity:
    """Who to become. None: stay as we are."""

    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    capabilities: tuple[str, ...] = ()


def resolve_identity(settings: Global) -> Identity:
    """Look up the names of the global section.

    Raises:
        ConfigError: an unknown user or group, or a `chroot` that is no directory.
    """
    uid = settings.uid
    if settings.user is not None:
        uid = _look_up("user", settings.user, lambda name: pwd.getpwnam(name).pw_uid)
    gid = settings.gid
    if settings.group is not None:
        gid = _look_up("group", settings.group, lambda name: grp.getgrnam(name).gr_gid)
    if settings.chroot is not None and not os.path.isdir(settings.chroot):
        raise config_error(f"chroot '{settings.chroot}' is not a directory", None, remedy="create it, empty and owned by root")
    return Identity(uid, gid, settings.chroot, settings.setcap)


def _look_up(what: str, name: str, find: Callable[[str], int]) -> int:
    try:
        return find(name)
    except KeyError:
        raise config_error(f"'{what} {name}' in the global section: this {what} does not exist on this machine", None) from None


def become(identity: Identity) -> list[str]:
    """Enter the jail and drop privileges. To be called once everything that needs root is open.

    Returns:
        Warnings for the operator.

    Raises:
        ConfigError: the system refuses; the process must not go on.
    """
    if identity.chroot is not None:
        _enter(identity.chroot)
    return _drop(identity, identity.capabilities, identity.capabilities)


def become_parent(identity: Identity) -> list[str]:
    """Drop privileges in a process whose children call `settle`: it keeps the right to chroot() for them, if they need it, and
    stays outside of the jail itself, so that children made later can open what lies outside. Otherwise see `become`."""
    jail = _needed_to_enter() if identity.chroot is not None and os.geteuid() == 0 else ()
    return _drop(identity, (*identity.capabilities, *jail), identity.capabilities)


def settle(identity: Identity) -> None:
    """Do the rest of `become` in a child of a process that has called `become_parent`.

    Raises:
        ConfigError: see `become`.
    """
    if identity.chroot is None:
        return
    if os.geteuid() != 0:
        from headgate.runtime.process import capabilities

        with contextlib.suppress(OSError):  # then chroot() says what is wrong
            capabilities.reduce_to(capabilities.permitted())
    _enter(identity.chroot)
    if os.geteuid() != 0:
        _reduce(identity.capabilities, identity.capabilities)


def _needed_to_enter() -> tuple[str, ...]:
    """What children need to enter a jail, which may be in a directory that only root can enter. Containers have few to give."""
    from headgate.runtime.process import capabilities

    try:
        had = capabilities.names(capabilities.permitted())
    except OSError as error:
        _refuse("cannot read the capabilities of this process", error)
    passes = [name for name in ("cap_dac_read_search", "cap_dac_override") if name in had]
    return ("cap_sys_chroot", *passes[:1])


def _drop(identity: Identity, kept: Collection[str], effective: Collection[str]) -> list[str]:
    """Change the user. `kept` are the capabilities that are permitted from then on, of which `effective` are in effect."""
    warnings = []
    is_root = os.geteuid() == 0
    if identity.gid is not None and (is_root or identity.gid != os.getegid()):
        _change_group(identity.gid, is_root)
    elif is_root and identity.uid:
        # Supplementary groups of root would outlive setuid().
        os.setgroups([])
    changes = identity.uid is not None and (is_root or identity.uid != os.geteuid())
    if changes and identity.uid is not None:
        try:
            if kept:
                from headgate.runtime.process.capabilities import keep_over_setuid

                keep_over_setuid(True)
            os.setuid(identity.uid)
        except OSError as error:
            _refuse(f"cannot set uid {identity.uid}", error)
    if os.geteuid() == 0:
        warnings.append(
            "running as root: no 'user' in the global section. Add 'user' and 'group' (and 'chroot') there, "
            "so that privileges are dropped once the sockets are bound"
        )
    elif kept:
        _reduce(kept, effective)
    return warnings


def _reduce(kept: Collection[str], effective: Collection[str]) -> None:
    from headgate.runtime.process import capabilities  # what few need is loaded where it is needed

    try:
        missing = capabilities.bits(kept) & ~capabilities.permitted()
        if missing:
            raise config_error(
                f"'setcap': this process does not have {' and '.join(capabilities.names(missing))}",
                None,
                remedy="start as root, or give the capability to the service (AmbientCapabilities= in systemd)",
            )
        capabilities.reduce_to(capabilities.bits(kept), capabilities.bits(effective))
    except OSError as error:
        _refuse(f"cannot keep {' and '.join(kept)}", error)


def _enter(directory: str) -> None:
    # Behind the wall nothing can be imported any more, nor can the time zone be read.
    time.tzset()
    import importlib
    import pkgutil

    import headgate

    for name in ("encodings.idna", "linecache", "traceback"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(headgate.__path__, "headgate."):
        # The command line was read long ago.
        if not module.name.startswith(("headgate.__main__", "headgate.cli")):
            importlib.import_module(module.name)
    try:
        os.chroot(directory)
        os.chdir("/")
    except OSError as error:
        _refuse(f"cannot chroot to '{directory}'", error)


def _change_group(gid: int, is_root: bool) -> None:
    try:
        if is_root:
            os.setgroups([gid])
        os.setgid(gid)
    except OSError as error:
        _refuse(f"cannot set gid {gid}", error)


def _refuse(what: str, error: OSError) -> NoReturn:
    remedy = "start as root, or remove it from the global section"
    raise config_error(f"{what}: {error.strerror}", None, remedy=remedy) from None
