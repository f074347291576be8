"""A coverage-guided fuzzer (atheris) for all that reads a client's first bytes: `make fuzz`, FUZZ_SECONDS=60 by default.

Not a test: it needs the extra `fuzz`, and ends with the input that broke something.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports():
    from headgate.base.handshake_causes import Cause
    from headgate.tls.handshake_record import HandshakeRecord, Step
    from headgate.tls.openssl import TlsError
    from headgate.wire.client_hello import is_whole, looks_like_tls, parse_client_hello
    from headgate.wire.errors import ProtocolViolation
    from headgate.wire.fingerprints import ja3, ja4
    from headgate.wire.hello_length import bytes_wanted


def explain(data: bytes) -> None:
    """What a record makes of these bytes, each time a cause, and facts that JSON can carry."""
    for number in (0, 193, 258):
        record = HandshakeRecord(outgoing=False)
        record.first_bytes = data
        record.step = Step.NEGOTIATION if is_whole(data) and looks_like_tls(data) else Step.CLIENT_HELLO
        record.failed(TlsError("reason", number) if number else TlsError("closed", eof=True))
        if record.cause is Cause.NONE:
            raise AssertionError("a failure without a cause")
        text = json.dumps(record.facts())
        if not text.isascii() or not record.advice.isprintable():
            raise AssertionError("what a client sent is in an advice as it was")


def one_input(data: bytes) -> None:
    """The fuzzer's call."""
    for start in (b"", b"\x16\x03\x01", b"\x80"):
        hello = start + data
        bytes_wanted(hello)
        try:
            parsed = parse_client_hello(hello)
        except ProtocolViolation:
            parsed = None
        if parsed is not None:
            ja3(parsed)
            ja4(parsed)
        explain(hello)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
