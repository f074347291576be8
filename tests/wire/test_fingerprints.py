"""JA3 and JA4: the published examples, GREASE, and a hello without anything."""

from __future__ import annotations

from headgate.wire.client_hello import ClientHello
from headgate.wire.fingerprints import ja3, ja3_text, ja4


def _published() -> ClientHello:
    """The example of JA4's technical description: Chrome on a TLS 1.3 connection."""
    hello = ClientHello(0x0301, 0x0303, 512)
    hello.versions = (0x2A2A, 0x0304, 0x0303)
    hello.ciphers = (
        0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D,
        0x002F, 0x0035,
    )  # fmt: skip
    hello.extensions = (
        0x1A1A, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01,
        0x000B, 0x000A, 0x0015,
    )  # fmt: skip
    hello.signature_algorithms = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
    hello.alpn = (b"h2", b"http/1.1")
    hello.sni = b"example.com"
    hello.groups = (0x3A3A, 29, 23, 24)
    hello.point_formats = (0,)
    return hello


def test_the_published_example() -> None:
    assert ja4(_published()) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_ja3_is_in_the_clients_order_without_grease() -> None:
    """The example of JA3's description, and its hash."""
    hello = ClientHello(0x0301, 0x0301, 100)
    hello.ciphers = (47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4)
    hello.extensions, hello.groups, hello.point_formats = (0, 10, 11), (23, 24, 25), (0,)
    assert ja3_text(hello) == "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0"
    assert ja3(hello) == "ada70206e40642a3e4461f35503241d5"
    assert ja3_text(_published()).startswith("771,4865-4866-") and "-29-" not in ja3_text(_published()).split(",")[1]


def test_bare_and_odd_hellos() -> None:
    hello = ClientHello(0x0300, 0x0300, 50)
    assert ja3_text(hello) == "768,,,,"
    assert ja4(hello) == "ts3i000000_000000000000_000000000000"
    for protocol, expected in ((b"\xab", "ab"), (b"\xab\xcd", "ad"), (b"0\xab", "3b"), (b"h", "hh")):
        hello.alpn = (protocol,)
        assert ja4(hello).split("_")[0] == f"ts3i0000{expected}"
    hello.ciphers = tuple(range(0xC001, 0xC001 + 150))
    assert ja4(hello)[4:6] == "99"
