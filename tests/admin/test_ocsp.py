"""The commands about OCSP responses, on a ledger of our own."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headgate.admin.commands.ocsp import set_response, show_response, show_updates, update_response
from headgate.admin.commands.own import show_headgate
from headgate.admin.registry import CommandError
from headgate.observe.history import History
from headgate.tls.authority import make_authority
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.ledger import Entry, Ledger
from headgate.tls.ocsp.response import check_response
from tests.admin.conftest import Process
from tests.tls.ocsp.ocsp_fixtures import make_leaf, make_response, subject_of

CA = make_authority("test CA")


class FakeOcsp:
    """Implements `admin.context.Ocsp` and `OcspUpdates`."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.ledger = Ledger()
        self.updates = self
        self.leaf = make_leaf(CA, "http://ocsp.example")
        self.good = Entry("1", ["/a.pem"], subject=subject_of(CA, self.leaf), updates=True, next_at=now + 100)
        self.bad = Entry("2", ["/b.pem"], subject=subject_of(CA, make_leaf(CA)), updates=True, next_at=now + 50)
        self.ledger.add(self.good)
        self.ledger.add(self.bad)
        self.good.put(check_response(self.response(), self.good.subject, now))  # type: ignore[arg-type]
        self.good.succeeded(now)
        self.bad.failed(Failure(failures.DNS, "ocsp.example does not exist (NXDOMAIN)"))
        self.given: list[bytes] = []

    def response(self) -> bytes:
        return make_response(CA, self.leaf, now=self.now)

    def lacking(self) -> list[Entry]:
        return []

    def admit_path(self, path: str) -> Entry | None:
        return None

    async def update(self, entry: Entry) -> None:
        if entry is self.bad:
            entry.failed(Failure(failures.CONNECT, "connection refused over IPv4"))
        else:
            entry.succeeded(self.now)

    async def insert(self, der: bytes) -> Entry:
        self.given.append(der)
        if der == b"wrong":
            raise Failure(failures.EXPIRED, "the response has expired")
        return self.good


@pytest.fixture
def ocsp(process: Process) -> FakeOcsp:
    process.ocsp = found = FakeOcsp(process.wall())
    return found


def whole(pieces: AsyncIterator[str]) -> str:
    async def gather() -> str:
        return "".join([piece async for piece in pieces])

    return asyncio.run(gather())


def test_updates(process: Process, ocsp: FakeOcsp) -> None:
    head, first, second = show_updates([], process).splitlines()
    assert head == (
        "OCSP Certid | Path | Next Update | Last Update | Successes | Failures | Last Update Status | Last Update Status (str)"
    )
    assert first.split(" | ")[:2] == [ocsp.bad.key, "/b.pem"], "by the time of the next update"
    assert first.split(" | ")[3:7] == ["-", "0", "1", "2"] and "HTTP error (ocsp.example does not exist" in first
    assert second.split(" | ")[4:] == ["1", "0", "1", "Update successful"] and "+0000 | " in second
    with pytest.raises(CommandError):
        show_updates(["x"], process)


def test_responses(process: Process, ocsp: FakeOcsp) -> None:
    listed = show_response([], process)
    assert listed.startswith("# Certificate IDs\n") and listed.count("Certificate ID key") == 2
    assert show_response(["/a.pem"], process) == show_response(["text", ocsp.good.key.upper()], process)
    assert "Cert Status: good" in show_response(["/a.pem"], process)
    assert base64.b64decode(show_response(["base64", "/a.pem"], process)) == ocsp.good.staple.der
    for words, message in (
        (["/b.pem"], "There is no OCSP response"), (["/c.pem"], "does not match any certificate"), (["base64"], "expects the ID"),
        (["/a.pem", "x"], "takes no 'x'"),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=message):
            show_response(words, process)


def test_update(process: Process, ocsp: FakeOcsp) -> None:
    assert "Cert Status: good" in whole(update_response(["/a.pem"], process))
    for words, message in (
        (["/b.pem"], r"HTTP error \(connection refused"), ([], "expects a filename"),
        (["/c.pem"], "not the file of a certificate"),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=message):
            whole(update_response(words, process))


def test_set(process: Process, ocsp: FakeOcsp) -> None:
    encoded = base64.b64encode(b"response" * 20).decode()
    assert whole(set_response([encoded], process)) == "OCSP Response updated!"
    assert whole(set_response([f"{encoded[:64]}\n{encoded[64:]}\n"], process)) == "OCSP Response updated!"
    assert ocsp.given == [b"response" * 20] * 2
    for words, message in (
        ([], "expects response in base64"), (["%"], "invalid base64"),
        ([base64.b64encode(b"wrong").decode()], "The response has expired."),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=message):
            whole(set_response(words, process))


def test_without_certificates(process: Process) -> None:
    assert show_response([], process) == "# Certificate IDs"
    assert len(show_updates([], process).splitlines()) == 1
    with pytest.raises(CommandError, match="No bind line"):
        show_response(["/a.pem"], process)


def test_facts_for_page_and_metrics(process: Process, ocsp: FakeOcsp) -> None:
    extra: Any = {"history": History(), "certificates": []}
    process.__dict__.update(extra)
    missing, good = json.loads(show_headgate([], process))["ocsp"]
    assert (missing["file"], missing["state"], missing["left"], missing["error"]) == ("/b.pem", "missing", 0, "dns")
    assert (good["file"], good["state"], good["left"], good["successes"], good["next"]) == ("/a.pem", "good", 3600, 1, 100)
