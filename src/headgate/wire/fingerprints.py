"""Fingerprints of TLS clients, made of their ClientHello: JA3 (Salesforce, 2017) and JA4 (FoxIO, 2023).

They tell programs apart, not people: all clients with the same TLS library and settings have the same one. Pure functions of a
parsed hello; fetches and handshake records call them when somebody asks.
"""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Final

from headgate.wire.client_hello import ALPN, SERVER_NAME, ClientHello, without_grease

_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_NOTHING: Final = "0" * 12


def ja3_text(hello: ClientHello) -> str:
    """What JA3 hashes: `version,ciphers,extensions,groups,point formats`, decimal numbers in the client's order, no GREASE."""
    lists = (hello.ciphers, hello.extensions, hello.groups)
    parts = ["-".join(map(str, without_grease(values))) for values in lists]
    return ",".join([str(hello.legacy_version), *parts, "-".join(map(str, hello.point_formats))])


def ja3(hello: ClientHello) -> str:
    """The JA3 fingerprint: 32 hexadecimal digits."""
    return md5(ja3_text(hello).encode("ascii"), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello) -> str:
    """The JA4 fingerprint of a client over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`."""
    ciphers = without_grease(hello.ciphers)
    extensions = without_grease(hello.extensions)
    version = _VERSIONS.get(max(without_grease(hello.versions), default=hello.legacy_version), "00")
    name = "d" if SERVER_NAME in extensions else "i"
    first = f"t{version}{name}{min(len(ciphers), 99):02d}{min(len(extensions), 99):02d}{_first_protocol(hello)}"
    algorithms = without_grease(hello.signature_algorithms)
    rest = sorted(one for one in extensions if one not in (SERVER_NAME, ALPN))
    about = _hexadecimal(rest) + ("_" + _hexadecimal(algorithms) if algorithms else "")
    return f"{first}_{_shortened(_hexadecimal(sorted(ciphers)))}_{_shortened(about) if extensions else _NOTHING}"


def _first_protocol(hello: ClientHello) -> str:
    """First and last character of the first ALPN value, or of its hexadecimal form where they are no letters or digits."""
    if not hello.alpn:
        return "00"
    value = hello.alpn[0]
    ends = bytes((value[0], value[-1]))
    if ends.isalnum():
        return ends.decode("ascii")
    written = value.hex()
    return written[0] + written[-1]


def _hexadecimal(values: tuple[int, ...] | list[int]) -> str:
    return ",".join([f"{value:04x}" for value in values])


def _shortened(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
