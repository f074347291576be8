"""Hellos that are cut, changed, or no hellos at all, given to OpenSSL as a client would: always a cause, never an exception."""

from __future__ import annotations

import random
import ssl

import pytest

from headgate.base.handshake_causes import Cause
from headgate.runtime.reactor import READ
from headgate.runtime.tls_openers import Answerer
from tests.tls.tls_peers import Pki, Recorder, World, bind_context


def _hello() -> bytes:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.example").do_handshake()
    return outgoing.read()


def _spoilt(source: random.Random) -> bytes:
    data = bytearray(_hello())
    kind = source.randrange(4)
    if kind == 0:
        return bytes(data[: source.randrange(1, len(data))])
    if kind == 1:
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        return bytes(data)
    if kind == 2:
        at = source.randrange(5, len(data))
        return bytes(data[:at]) + source.randbytes(source.randrange(1, 40)) + bytes(data[at:])
    return b"\x16\x03\x01" + source.randbytes(source.randrange(0, 300))


@pytest.mark.parametrize("seed", range(8))
def test_every_bad_hello_has_a_cause(world: World, pki: Pki, seed: int) -> None:
    source = random.Random(seed)
    context = bind_context(pki, "a.pem", strict_sni=bool(seed % 2))
    for _ in range(25):
        data = _spoilt(source)
        near, far = world.pair()
        near.sendall(data)
        near.close()
        recorder = Recorder()
        world.reactor.watch(far.fileno(), READ, lambda _: None)
        channel = Answerer(context).accept(world.reactor, far, data, recorder)
        world.wait(lambda heard=recorder: heard.lost or heard.completed)
        record = channel.record
        assert record is not None and record.cause not in (Cause.NONE, Cause.UNKNOWN, Cause.INTERNAL), (data.hex(), record.error)
        assert record.advice and record.facts()["cause"] == record.cause.code
