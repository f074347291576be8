"""Passwords of userlists (manual 12.1): clear text, and the crypt schemes `$1$`, `$5$` and `$6$`.

Python is about to lose its `crypt` module, so the three schemes are here, after their public specifications (Poul-Henning
Kamp's MD5 crypt, Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512"). A successful check is remembered under a keyed hash,
since one check costs milliseconds and browsers send the password with every request. Comparisons take constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

from headgate.base.diagnostics import config_error
from headgate.config.model import Userlist

_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_REMEMBERED = 1024


def _base64(value: int, characters: int) -> bytes:
    out = bytearray()
    for _ in range(characters):
        out.append(_ALPHABET[value & 63])
        value >>= 6
    return bytes(out)


def _cyclic(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


_SHA256_ORDER = (
    (0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14), (15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8),
    (9, 19, 29),
)
_SHA512_ORDER = (
    (0, 21, 42), (22, 43, 1), (44, 2, 23), (3, 24, 45), (25, 46, 4), (47, 5, 26), (6, 27, 48), (28, 49, 7), (50, 8, 29),
    (9, 30, 51), (31, 52, 10), (53, 11, 32), (12, 33, 54), (34, 55, 13), (56, 14, 35), (15, 36, 57), (37, 58, 16), (59, 17, 38),
    (18, 39, 60),
    (40, 61, 19), (62, 20, 41),
)


def sha_crypt(password: bytes, setting: bytes) -> bytes:
    """`$5$` and `$6$` with optional `rounds=N$`: the complete hash for a setting (a hash works as its own setting)."""
    match = re.match(rb"\$([56])\$(?:rounds=([0-9]{1,9})\$)?([^$]{0,16})", setting)
    assert match is not None
    sha256 = match[1] == b"5"
    algorithm: Callable[[bytes], hashlib._Hash] = hashlib.sha256 if sha256 else hashlib.sha512
    rounds = min(max(int(match[2]), 1000), 999999999) if match[2] is not None else 5000
    salt = match[3]
    alternate = algorithm(password + salt + password).digest()
    text = bytearray(password + salt + _cyclic(alternate, len(password)))
    count = len(password)
    while count:
        text += alternate if count & 1 else password
        count >>= 1
    result = algorithm(bytes(text)).digest()
    p = _cyclic(algorithm(password * len(password)).digest(), len(password))
    s = _cyclic(algorithm(salt * (16 + result[0])).digest(), len(salt))
    for index in range(rounds):
        result = algorithm(
            (p if index & 1 else result) + (s if index % 3 else b"") + (p if index % 7 else b"") + (result if index & 1 else p)
        ).digest()
    groups = _SHA256_ORDER if sha256 else _SHA512_ORDER
    encoded = b"".join(_base64(result[a] << 16 | result[b] << 8 | result[c], 4) for a, b, c in groups)
    encoded += _base64(result[31] << 8 | result[30], 3) if sha256 else _base64(result[63], 2)
    prefix = b"$%b$" % match[1] + (b"rounds=%d$" % rounds if match[2] is not None else b"")
    return prefix + salt + b"$" + encoded


def md5_crypt(password: bytes, setting: bytes) -> bytes:
    """`$1$`: the complete hash for a setting."""
    match = re.match(rb"\$1\$([^$]{0,8})", setting)
    assert match is not None
    salt = match[1]
    alternate = hashlib.md5(password + salt + password).digest()
    text = bytearray(password + b"$1$" + salt + _cyclic(alternate, len(password)))
    count = len(password)
    while count:
        text += b"\0" if count & 1 else password[:1]
        count >>= 1
    result = hashlib.md5(bytes(text)).digest()
    for index in range(1000):
        result = hashlib.md5(
            (password if index & 1 else result)
            + (salt if index % 3 else b"")
            + (password if index % 7 else b"")
            + (result if index & 1 else password)
        ).digest()
    groups = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
    encoded = b"".join(_base64(result[a] << 16 | result[b] << 8 | result[c], 4) for a, b, c in groups) + _base64(result[11], 2)
    return b"$1$" + salt + b"$" + encoded


_SCHEMES: dict[bytes, Callable[[bytes, bytes], bytes]] = {b"$1$": md5_crypt, b"$5$": sha_crypt, b"$6$": sha_crypt}


class Checker:
    """Checks users of one userlist.

    Args:
        userlist: its passwords are read here and shown nowhere.

    Raises:
        ConfigError: a password is hashed in a way that we don't know.
    """

    __slots__ = ("_groups", "_key", "_remembered", "_users")

    def __init__(self, userlist: Userlist) -> None:
        self._users: dict[bytes, tuple[bytes, Callable[[bytes, bytes], bytes] | None]] = {}
        self._groups = {user.name.encode(): tuple(group.encode() for group in user.groups) for user in userlist.users}
        self._key = secrets.token_bytes(32)
        self._remembered: set[bytes] = set()
        for user in userlist.users:
            secret = user.password.encode("utf-8", "surrogateescape")
            scheme = None if user.insecure else _SCHEMES.get(secret[:3])
            if scheme is None and not user.insecure:
                raise config_error(
                    f"the password of user '{user.name}' of userlist '{userlist.name}' has a hash that is not yet supported",
                    userlist.location,
                    remedy="use a hash of mkpasswd -m sha-512 (it begins with $6$), $5$ or $1$",
                )
            self._users[user.name.encode()] = (secret, scheme)

    def valid(self, user: bytes, password: bytes) -> bool:
        """Whether the user exists and this is the password."""
        found = self._users.get(user)
        if found is None:
            return False
        secret, scheme = found
        if scheme is None:
            return hmac.compare_digest(secret, password)
        proof = hmac.digest(self._key, user + b"\0" + password, "sha256")
        if proof in self._remembered:
            return True
        if len(password) > 512 or not hmac.compare_digest(scheme(password, secret), secret):
            # Hashing is linear in the password's length: nobody may make us hash kilobytes five thousand times.
            return False
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered.add(proof)
        return True

    def groups(self, user: bytes) -> tuple[bytes, ...]:
        """The user's groups."""
        return self._groups.get(user, ())
