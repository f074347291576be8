"""A name server for tests: answers over UDP and TCP from records that a test changes, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from headgate.tls.authority import issue, make_authority

#: Gets the query and whether it came over TCP; answers the bytes to send, None for silence.
Behaviour = Callable[[dns.message.Message, bool], bytes | None]


class NameServer:
    """On one port of 127.0.0.1.

    Args:
        tls: speaks it over TCP.

    Attributes:
        port: for UDP and TCP.
        connections: over TCP, so far, those among them whose handshake failed too.
        patience: how long one may be idle, seconds.
        records: (name, type) -> values, as in a zone file. A name without any is answered with NXDOMAIN.
        behaviour: replaces all that, when set.
        asked: the questions so far, as (name, type).
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._open: set[socket.socket] = set()
        self.connections = 0
        self.patience = 5.0
        self.records: dict[tuple[str, str], list[str]] = {}
        self.behaviour: Behaviour | None = None
        self.asked: list[tuple[str, str]] = []
        self._stream = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._stream.getsockname()[1]
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._serve_datagrams, self._serve_streams)]
        for thread in self._threads:
            thread.start()

    def put(self, name: str, kind: str, values: Iterable[str]) -> None:
        """Set the records of a name; none remove it."""
        self.records[name, kind] = list(values)

    def answer(self, query: dns.message.Message, *, additional: bool = True) -> dns.message.Message:
        """The answer that the records give."""
        reply = dns.message.make_response(query)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        values = self.records.get((name, kind))
        alias = self.records.get((name, "CNAME"))
        if alias:
            reply.answer.append(dns.rrset.from_text(f"{name}.", 1, "IN", "CNAME", alias[0] + "."))
            name, values = alias[0], self.records.get((alias[0], kind))
        if values:
            reply.answer.append(dns.rrset.from_text(f"{name}.", 1, "IN", kind, *values))
            for value in values if kind == "SRV" and additional else ():
                target = value.split()[-1].rstrip(".")
                for family in ("A", "AAAA"):
                    found = self.records.get((target, family))
                    if found:
                        reply.additional.append(dns.rrset.from_text(f"{target}.", 1, "IN", family, *found))
        elif not any(known == name and found for (known, _), found in self.records.items()):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply

    def _reply(self, data: bytes, stream: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        if self.behaviour is not None:
            question = query.question[0]
            self.asked.append((question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)))
            return self.behaviour(query, stream)
        return self.answer(query).to_wire(max_size=65535)

    def _serve_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, address = self._datagrams.recvfrom(65535)
                if not data:  # it was shut
                    return
                reply = self._reply(data, False)
                if reply is not None:
                    self._datagrams.sendto(reply, address)

    def _serve_streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._stream.accept()
                self.connections += 1
                self._open.add(connection)
                thread = threading.Thread(target=self._serve_stream, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve_stream(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted, contextlib.ExitStack() as stack:
            accepted.settimeout(self.patience)
            connection = accepted
            if self._tls is not None:
                connection = stack.enter_context(self._tls.wrap_socket(accepted, server_side=True))
                self._open.add(connection)
            file = stack.enter_context(connection.makefile("rb"))
            while size := int.from_bytes(file.read(2), "big"):
                reply = self._reply(file.read(size), True)
                if reply is not None:
                    connection.sendall(len(reply).to_bytes(2, "big") + reply)
        self._open.discard(accepted)

    def close(self) -> None:
        """Stop answering; when this is done, nothing of it is left."""
        for sock in (self._stream, self._datagrams, *list(self._open)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._datagrams.close()
        for thread in self._threads:
            thread.join(self.patience + 1.0)


def certified(directory: pathlib.Path) -> ssl.SSLContext:
    """What a name server needs that is dns.example; `ca.pem` in the directory is who says so."""
    root = make_authority("root")
    (directory / "ca.pem").write_bytes(root.certificate_pem)
    (directory / "dns.pem").write_bytes(issue(root, ["dns.example"]).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "dns.pem")
    return context


def with_code(code: dns.rcode.Rcode) -> Behaviour:
    """Answers every query with an error."""

    def behave(query: dns.message.Message, _stream: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.set_rcode(code)
        return reply.to_wire()

    return behave


def silence(_query: dns.message.Message, _stream: bool) -> None:
    """Answers nothing."""


def garbage(query: dns.message.Message, _stream: bool) -> bytes:
    """Answers what can't be parsed, with the right number in front."""
    return query.id.to_bytes(2, "big") + b"\x81\x80" + b"\xff" * 40


def truncated_over_udp(server: NameServer) -> Behaviour:
    """Says over UDP that the answer does not fit, and gives it over TCP."""

    def behave(query: dns.message.Message, stream: bool) -> bytes:
        reply = server.answer(query)
        if not stream:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
        return reply.to_wire(max_size=65535)

    return behave
