"""Crypt schemes against values of the C library's crypt(3)."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import ConfigError, Location
from headgate.config.model import User, Userlist
from headgate.plan.passwords import Checker, md5_crypt, sha_crypt

HASHES = [
    ("Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
    ("secret", "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi."),
    ("secret", "$5$rounds=1000$saltstring$AH5PD0i.riCRu4BNDy9v7OPV7u3dfLBApcXI6khquVA"),
    ("secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
]


@pytest.mark.parametrize(("password", "hashed"), HASHES)
def test_schemes(password: str, hashed: str) -> None:
    scheme = md5_crypt if hashed.startswith("$1$") else sha_crypt
    assert scheme(password.encode(), hashed.encode()) == hashed.encode()
    assert scheme(password.encode() + b"x", hashed.encode()) != hashed.encode()


@pytest.mark.parametrize(("password", "hashed"), HASHES)
def test_users(password: str, hashed: str) -> None:
    users = (User("ann", hashed, groups=("a", "b")), User("bob", "clear", insecure=True))
    checker = Checker(Userlist("people", users, Location("x", 1)))
    # Twice: the second time is answered from memory.
    assert [checker.valid(b"ann", password.encode()) for _ in range(2)] == [True, True]
    assert not checker.valid(b"ann", b"other")
    assert not checker.valid(b"eve", password.encode())
    assert checker.valid(b"bob", b"clear")
    assert not checker.valid(b"bob", b"Clear")
    assert checker.groups(b"ann") == (b"a", b"b")


def test_an_unknown_scheme_is_an_error_without_the_hash_in_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Checker(Userlist("people", (User("ann", "$y$j9T$abcdef$hash"),), Location("x", 1)))
    assert "abcdef" not in str(caught.value)
    assert "user 'ann'" in str(caught.value)
