"""Fixtures of the TLS tests; what they give is in `tls_peers`."""

from collections.abc import Iterator

import pytest

from tests.tls.tls_peers import Pki, World


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.close()
