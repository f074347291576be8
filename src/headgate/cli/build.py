"""What this program is built from and what it can do: for `-vv`, `-cc` and `.if feature(...)`.

A feature stands with a plus only when configurations that rely on it work. Versions of libraries are looked up when they are
asked for, since loading OpenSSL costs more than all the rest of `-cc`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from headgate import COMPATIBLE_VERSION

#: HAProxy's names of build features (`haproxy -vv`), and whether what they stand for works here.
FEATURES: dict[str, bool] = {
    "51DEGREES": False,
    "ACCEPT4": True,
    "BACKTRACE": True,  # Python shows where it stopped
    "CPU_AFFINITY": False,
    "CRYPT_H": False,
    "DEVICEATLAS": False,
    "ECH": False,
    "EPOLL": True,
    "EVPORTS": False,
    "GETADDRINFO": True,
    "KQUEUE": False,
    "KTLS": False,
    "LINUX_CAP": False,
    "LINUX_SPLICE": True,
    "LINUX_TPROXY": False,
    "LUA": False,
    "NS": False,
    "OPENSSL": True,
    "OPENSSL_AWSLC": False,
    "OPENSSL_WOLFSSL": False,
    "OT": False,
    "OTEL": False,
    "PCRE": False,
    "PCRE2": False,
    "POLL": False,
    "PRCTL": False,
    "PROMEX": False,
    "QUIC": False,
    "SLZ": False,
    "SYSTEMD": True,
    "TFO": False,
    "THREAD": False,
    "TPROXY": False,
    "WURFL": False,
    "ZLIB": False,
}

#: `enabled()` of manual 2.4: run-time options that are on unless the command line turns them off.
_ENABLED = ("EPOLL", "GETADDRINFO", "REUSEPORT", "SPLICE")


def features() -> frozenset[str]:
    """The names of the features that work."""
    return frozenset(name for name, works in FEATURES.items() if works)


def enabled(switched_off: Iterable[str] = ()) -> frozenset[str]:
    """The run-time options that are on."""
    return frozenset(_ENABLED) - frozenset(switched_off)


def openssl_text() -> str:
    """`OpenSSL 4.0.3 29 Sep 2026`: the library that TLS connections use, which comes with `cryptography`."""
    # The public way, cryptography.hazmat.backends.default_backend(), loads ten times as much for the same string.
    from cryptography.hazmat.bindings._rust import openssl

    return str(openssl.openssl_version_text())


def openssl_name_and_version() -> tuple[str, str]:
    """The library's name as `ssllib_name_startswith()` compares it, and its number."""
    text = openssl_text()
    words = text.split()
    return text, words[1] if len(words) > 1 else ""


def compatible_branch() -> str:
    """The branch of HAProxy whose language is spoken: "3.5"."""
    return ".".join(COMPATIBLE_VERSION.split(".")[:2])


def hot_path() -> str:
    """Whether the modules from accept to log line are compiled (see `setup.py`): `compiled by mypyc` or `interpreted`."""
    found = importlib.util.find_spec("headgate.proxy.exchange")
    compiled = found is not None and found.origin is not None and not found.origin.endswith(".py")
    return "compiled by mypyc" if compiled else "interpreted; HEADGATE_COMPILE=1 pip install compiles it"
