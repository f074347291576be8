"""The texts of `-v`, `-vv`, `-vq`, `-vqs` and `-vqb`.

We say what we are: headgate with its own version. Scripts look for "HAProxy version X" in the first line to learn which
language a configuration may use, so that line names the HAProxy version that we are compatible with. `-vq` and its kin answer
with that version alone, because that is what their callers compare with.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate import COMPATIBLE_VERSION, __version__
from headgate.cli.build import FEATURES, compatible_branch, hot_path, openssl_text


def version_text(which: str) -> str:
    """The text for one of the options v, vv, vq, vqs, vqb."""
    return _TEXTS[which]()


def _first_line() -> str:
    return f"headgate version {__version__} - speaks the configuration language of HAProxy version {COMPATIBLE_VERSION}\n"


def _full() -> str:
    import platform
    from importlib import metadata

    feature_list = " ".join(f"{'+' if works else '-'}{name}" for name, works in sorted(FEATURES.items()))
    lines = [
        _first_line(),
        f"Feature list : {feature_list}\n",
        "\n",
        "Default settings :\n",
        "  bufsize = 16384, maxrewrite = 1024\n",
        "\n",
        f"Running on Python version : {platform.python_version()} ({platform.python_implementation()})\n",
        f"Hot path : {hot_path()}\n",
        f"Running on OpenSSL version : {openssl_text()}\n",
    ]
    libraries = ("pyOpenSSL", "cryptography")
    lines.extend(f"Running on {library} version : {metadata.version(library)}\n" for library in libraries)
    lines.append(f"Running on : {platform.system()} {platform.release()} {platform.machine()}\n")
    lines.append("\nAvailable polling systems :\n      epoll : pref=300,  test result OK\nTotal: 1 (1 usable), will use epoll.\n")
    return "".join(lines)


_TEXTS: dict[str, Callable[[], str]] = {
    "v": _first_line,
    "vv": _full,
    "vq": lambda: f"{COMPATIBLE_VERSION}\n",
    "vqs": lambda: f"{COMPATIBLE_VERSION}\n",
    "vqb": lambda: f"{compatible_branch()}\n",
}
