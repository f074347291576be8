"""Keys of session tickets from a file (manual 5.1 tls-ticket-keys): several machines, and a service before and after its restart,
read each other's tickets.

The last three keys of the file count. The last but one encrypts, all decrypt: so a key that is appended is known everywhere
before anybody uses it. Reads and checks; `ticket_sealing` uses the keys. No message shows any of one.
"""

from __future__ import annotations

import binascii
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.tls.pem import read_file

#: How many keys count (HAProxy's TLS_TICKETS_NO).
COUNT: Final = 3
#: Bytes of a key's name, which tickets carry. Behind it stand the key of AES and that of the MAC, equally long (nginx has them
#: the other way round where they have 32 bytes).
NAME: Final = 16
#: Bytes of a whole key.
SIZES: Final = (48, 80)

_MAKE: Final = "make each with: openssl rand 80 | openssl base64 -A; echo"

#: The keys that count, oldest first.
TicketKeys = tuple[bytes, ...]


def decoded(text: str | bytes) -> bytes:
    """A key from base64. Raises ValueError, which does not show it."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("it is no base64") from None


def read_ticket_keys(path: str, location: Location | None) -> TicketKeys:
    """The keys of a file.

    Args:
        path: one key a line, in base64.
        location: where the configuration names it.

    Raises:
        ConfigError: it can't be read, has too few keys, or one that is none.
    """
    lines = read_file(path, location, "ticket key file").splitlines()
    keys: list[bytes] = []
    for number, line in enumerate(lines, 1):
        try:
            keys.append(_key(line, keys))
        except ValueError as problem:
            raise config_error(
                f"tls-ticket-keys {path!r}: line {number} holds no key: {problem}", location, remedy=_MAKE
            ) from None
    if len(keys) < COUNT:
        raise config_error(
            f"tls-ticket-keys {path!r} has {len(keys)} key{'' if len(keys) == 1 else 's'}: {COUNT} are needed, an old one, the"
            " one that encrypts, and the next", location, remedy=_MAKE,
        )
    return tuple(keys[-COUNT:])


def _key(line: bytes, before: list[bytes]) -> bytes:
    """The key of a line, of the kind of those before it. Raises ValueError, which does not show it."""
    key = decoded(line)
    if len(key) not in SIZES:
        raise ValueError(f"it has {len(key)} bytes, and a key has 48 or 80")
    if before and len(key) != len(before[0]):
        raise ValueError(f"it has {len(key)} bytes, and the first one {len(before[0])}: they must be of one kind")
    return key


def followed_by(keys: TicketKeys, key: bytes) -> TicketKeys:
    """The keys once another one has become the last; the oldest is forgotten, and what was the last encrypts."""
    return (*keys[1:], key)
