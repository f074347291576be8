"""`show sess` and `shutdown session` (management manual 9.3): the streams that are under way, in all workers.

A stream's identifier is, as in HAProxy, where it is in memory, with the number of its worker in front. Of HAProxy's fields those
are shown that mean something here; what the flags mean stands in docs/operating.md.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.gathering import gathered
from headgate.admin.registry import Command, CommandError, Level
from headgate.admin.writing import date, duration, endpoint, expiry, family
from headgate.balance.server import ServerState
from headgate.base.termination import Outcome
from headgate.base.units import LONGEST_SPAN, UnitError, parse_time
from headgate.plan.facts import Session
from headgate.proxy import exchange, relay, seeking
from headgate.proxy.client_session import ClientSession
from headgate.proxy.http_session import HttpSession
from headgate.proxy.http_stream import HttpStream
from headgate.proxy.port import Channel
from headgate.proxy.relay import RelaySession, RelayStream
from headgate.proxy.sides import Backend, Frontend

_AnyStream = HttpStream | RelayStream

_HELP = """Usage: show sess [<id> | all | help] [<options>*]
Dumps active streams (formerly called 'sessions'). Available selectors:
   <id>         dump only this stream identifier (0x...)
   all          dump all streams in large format
   help         print this help
Available options:
   backend <b>  show only streams attached to this backend
   frontend <f> show only streams attached to this frontend
   older <age>  show only streams older than <age> seconds (or any time unit)
   server <b/s> show only streams attached to this backend+server
   show-uri     also display the transaction URI, if available
   susp         show only streams considered as suspicious"""

_ID = re.compile(r"(?:0x)?([0-9a-f]{1,16})", re.IGNORECASE)
_NOT_FOUND = "Session not found."
_NO_SUCH = "No such session (use 'show sess')."
#: Streams that are looked at in one turn of the event loop.
_AT_A_TIME = 100
#: A deadline that passed this long ago, seconds, should have been acted on.
_OVERDUE = 2.0

# States of a connection as HAProxy numbers and names them.
_INI, _QUE, _TAR, _CON, _EST, _DIS = (0, "INI"), (2, "QUE"), (3, "TAR"), (5, "CON"), (8, "EST"), (9, "DIS")

_HTTP_STATES = {
    seeking.AWAIT_SLOT: _QUE, seeking.CONNECT: _CON, seeking.TURN_AROUND: _TAR, exchange.AWAIT_HEAD: _EST,
    exchange.TRANSFER: _EST, exchange.RELAY: _EST, exchange.FLUSH: _DIS, exchange.OVER: _DIS,
}  # fmt: skip
_RELAY_STATES = {
    seeking.AWAIT_SLOT: _QUE, seeking.CONNECT: _CON, seeking.TURN_AROUND: _TAR, relay.RELAY: _EST, relay.OVER: _DIS,
}  # fmt: skip
_HTTP_PHASES = {
    seeking.PREPARE: "PREPARE", exchange.BUFFER_REQUEST: "BUFFER_REQUEST", exchange.TARPIT: "TARPIT",
    seeking.AWAIT_SLOT: "AWAIT_SLOT", seeking.CONNECT: "CONNECT", seeking.TURN_AROUND: "TURN_AROUND",
    exchange.AWAIT_HEAD: "AWAIT_HEAD", exchange.TRANSFER: "TRANSFER", exchange.FLUSH: "FLUSH", exchange.RELAY: "TUNNEL",
    exchange.OVER: "OVER",
}  # fmt: skip
_RELAY_PHASES = {
    relay.INSPECT_FRONTEND: "INSPECT_FRONTEND", relay.INSPECT_BACKEND: "INSPECT_BACKEND", seeking.AWAIT_SLOT: "AWAIT_SLOT",
    seeking.CONNECT: "CONNECT", seeking.TURN_AROUND: "TURN_AROUND", relay.RELAY: "RELAY", relay.OVER: "OVER",
}  # fmt: skip

#: Bits of `f=`: all was received; reading waits for the other side; a half is shut; bytes wait to be sent.
_DONE, _PAUSED, _SHUT, _BLOCKED = 1, 2, 4, 8


class _Seen:
    """One stream under way, looked at from outside; the two kinds alike."""

    def __init__(self, session: HttpSession | RelaySession, stream: _AnyStream, context: Context) -> None:
        self.session = session
        self.stream = stream
        self.side: Frontend = session.side
        self.link: Backend | None = stream.link
        self.worker = context.inspection.worker or 1
        self.now = context.clock()
        self.age = max(0.0, context.wall() - stream.started_at)
        self.http = isinstance(stream, HttpStream)
        states = _HTTP_STATES if self.http else _RELAY_STATES
        self.state = states.get(stream.phase, _INI)
        self.phase = (_HTTP_PHASES if self.http else _RELAY_PHASES)[stream.phase]

    @property
    def id(self) -> str:
        return stream_id(self.worker, self.stream)

    @property
    def client(self) -> Channel | None:
        return getattr(self.session, "channel", None)

    @property
    def server(self) -> Channel | None:
        stream = self.stream
        if isinstance(stream, RelayStream):
            return stream.server_channel
        return stream.connection.channel if stream.connection is not None else None

    @property
    def deadline(self) -> float | None:
        """Seconds until the deadline, None without one."""
        deadline = self.session.deadline
        return deadline - self.now if deadline else None

    @property
    def held(self) -> tuple[int, int]:
        """Bytes of request and response that wait in our memory for a decision."""
        stream = self.stream
        if isinstance(stream, RelayStream):
            return len(stream.request_buffer), len(stream.response_buffer)
        return len(stream.owner.buffer) + len(stream.held), len(stream.response_buffer)

    @property
    def flags(self) -> tuple[int, int]:
        """`f=` of both directions."""
        stream, client, server = self.stream, self.client, self.server
        if isinstance(stream, RelayStream):
            request = _SHUT * (stream.eofs & 1)
            response = _SHUT * (stream.eofs >> 1)
        else:
            request = _DONE * stream.request_done | _PAUSED * stream.owner.paused | _SHUT * bool(stream.tunnel_eofs & 1)
            paused = stream.connection is not None and stream.connection.paused
            response = _DONE * stream.response_done | _PAUSED * paused | _SHUT * bool(stream.tunnel_eofs & 2)
        request |= _BLOCKED * bool(server is not None and server.blocked)
        response |= _BLOCKED * bool(client is not None and client.blocked)
        return request, response

    def waits(self) -> Mapping[str, str]:
        """Which of HAProxy's timers the one deadline is: `q` and `p` (request, response) with rx, wx, ax, or `c` (connecting)."""
        left = self.deadline
        if left is None:
            return {}
        text = expiry(left)
        if self.state in (_QUE, _CON, _TAR):
            return {"c": text}
        if self.state is _INI:
            return {"qax": text}
        client = self.client
        if client is not None and client.blocked:
            return {"pwx": text}
        if self.phase in ("TUNNEL", "RELAY"):
            return {"qrx": text, "prx": text}
        if isinstance(self.stream, HttpStream) and not self.stream.request_done:
            return {"qwx" if self.server is not None and self.server.blocked else "qrx": text}
        return {"prx": text}

    def is_suspicious(self) -> bool:
        """Nothing would ever end it, it is overdue, or it is over and still here."""
        left = self.deadline
        return left is None or left < -_OVERDUE or self.phase == "OVER"


def stream_id(worker: int, stream: object) -> str:
    """What a stream is called in all workers."""
    return f"0x{worker:x}{id(stream):012x}"


def streams(context: Context) -> Iterator[tuple[HttpSession | RelaySession, _AnyStream]]:
    """The streams of this process, oldest first."""
    found: list[tuple[HttpSession | RelaySession, _AnyStream]] = []
    sessions: Collection[ClientSession] = context.inspection.sessions
    for session in list(sessions):
        if isinstance(session, (HttpSession, RelaySession)):
            stream = session.stream
            # a relay is there from the start, but it has begun only once its channel is
            if stream is not None and (isinstance(stream, HttpStream) or stream.started_at):
                found.append((session, stream))
    found.sort(key=lambda pair: (pair[1].started_at, pair[1].number))
    return iter(found)


# --- show sess -------------------------------------------------------------------------------------------------------


class _Wanted:
    """The words behind `show sess`."""

    def __init__(self, words: Sequence[str], context: Context) -> None:
        self.id: str | None = None
        self.all = self.help = self.uri = self.suspicious = False
        self.older = 0.0
        self.frontend: Frontend | None = None
        self.backend: Backend | None = None
        self.server: ServerState | None = None
        rest = list(words)
        if rest and rest[0] in ("all", "help"):
            self.all, self.help = rest[0] == "all", rest[0] == "help"
            del rest[0]
        elif rest and rest[0] not in _FILTERS:
            self.id = _identifier(rest.pop(0), f"'show sess' knows no '{words[0]}': try 'show sess help'.")
        while rest:
            word = rest.pop(0)
            take = _FILTERS.get(word)
            if take is None:
                raise CommandError(f"'show sess' knows no '{word}': try 'show sess help'.")
            take(self, rest, context)

    def takes(self, seen: _Seen) -> bool:
        return (
            (self.id is None or self.id == seen.id)
            and seen.age >= self.older
            and (self.frontend is None or seen.side is self.frontend)
            and (self.backend is None or seen.link is self.backend)
            and (self.server is None or seen.stream.server is self.server)
            and (not self.suspicious or seen.is_suspicious())
        )

    def take_older(self, rest: list[str], _: Context) -> None:
        try:
            self.older = parse_time(rest.pop(0), "s", longest=LONGEST_SPAN) if rest else 0.0
        except UnitError as error:
            raise CommandError(str(error)) from None
        if self.older <= 0.0:
            raise CommandError("Invalid age. It is in seconds unless a unit follows, and above zero.")

    def take_frontend(self, rest: list[str], context: Context) -> None:
        self.frontend = targets.frontend(rest[:1], context)
        del rest[0]

    def take_backend(self, rest: list[str], context: Context) -> None:
        self.backend = targets.named_backend(rest, context)
        del rest[0]

    def take_server(self, rest: list[str], context: Context) -> None:
        self.backend, self.server = targets.server(rest[:1], context)
        del rest[0]

    def take_uri(self, _: list[str], __: Context) -> None:
        self.uri = True

    def take_suspicious(self, _: list[str], __: Context) -> None:
        self.suspicious = True


_FILTERS: Mapping[str, Callable[[_Wanted, list[str], Context], None]] = {
    "older": _Wanted.take_older, "frontend": _Wanted.take_frontend, "backend": _Wanted.take_backend,
    "server": _Wanted.take_server, "show-uri": _Wanted.take_uri, "susp": _Wanted.take_suspicious,
}  # fmt: skip


def _identifier(word: str, otherwise: str) -> str:
    found = _ID.fullmatch(word)
    if found is None:
        raise CommandError(otherwise)
    return "0x" + found.group(1).lower()


def _collect(words: Sequence[str], context: Context) -> list[str] | Awaitable[list[str]]:
    wanted = _Wanted(words, context)
    return [] if wanted.help else _dump(wanted, context)


async def _dump(wanted: _Wanted, context: Context) -> list[str]:
    """All that is wanted, a few at a time: thousands of streams must not hold up the traffic."""
    large = wanted.all or wanted.id is not None
    texts: list[str] = []
    for position, (session, stream) in enumerate(streams(context)):
        if position % _AT_A_TIME == _AT_A_TIME - 1:
            await context.inspection.pause(0)
        if session.stream is not stream or session not in context.inspection.sessions:
            continue  # over meanwhile
        seen = _Seen(session, stream, context)
        if wanted.takes(seen):
            texts.append(_large(seen) if large else _line(seen, uri=wanted.uri))
    return texts


def _render(words: Sequence[str], facts: Mapping[int, list[str]]) -> str:
    if words and words[0] == "help":
        return _HELP
    found = [text for texts in facts.values() for text in texts]
    if not found and words and words[0] not in _FILTERS and words[0] != "all":
        raise CommandError(_NOT_FOUND, 6)
    return "\n".join(found)


def _line(seen: _Seen, *, uri: bool) -> str:
    """One stream in the short format."""
    stream, session = seen.stream, seen.session
    waits = seen.waits()
    request, response = seen.flags
    held_request, held_response = seen.held
    left = seen.deadline
    server = stream.server
    text = (
        f"{seen.id}: proto={family(session.source)} src={_source(session)} fe={seen.side.name}"
        f" be={seen.link.name if seen.link is not None else '<NONE>'} srv={server.name if server is not None else '<none>'}"
        f" ts={stream.phase:02x} age={duration(seen.age)}"
        f" rq[f={request:x}h,i={held_request},an={_rules_left(seen)}h,rx={waits.get('qrx', '')},wx={waits.get('qwx', '')},"
        f"ax={waits.get('qax', '')}]"
        f" rp[f={response:x}h,i={held_response},an=0h,rx={waits.get('prx', '')},wx={waits.get('pwx', '')},ax=]"
        f" scf=[8,0h,fd={_fd(seen.client)}] scb=[{seen.state[0]},0h,fd={_fd(seen.server)}]"
        f" exp={expiry(left) if left is not None else ''} rc={stream.retries} c_exp={waits.get('c', '')}"
    )
    if uri and stream.original_target:
        text += f' uri="{_uri(stream)}"'
    return text


def _rules_left(seen: _Seen) -> int:
    """`an=`: 1 while rules are still to be run on the request."""
    return int(seen.state is _INI)


def _source(session: Session) -> str:
    return endpoint(session.source, session.source_port, session.listener_id)


def _fd(channel: Channel | None) -> int:
    return getattr(channel, "fd", -1) if channel is not None else -1


def _uri(stream: _AnyStream) -> str:
    text = b"%b %b" % (stream.original_method, stream.original_target)
    return "".join([chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in text])


def _large(seen: _Seen) -> str:
    """One stream in the extended format."""
    stream, session = seen.stream, seen.session
    side, link = seen.side, seen.link
    left = seen.deadline
    waits = seen.waits()
    request, response = seen.flags
    held_request, held_response = seen.held
    listener = session.listener_name or "?"
    to = endpoint(session.destination, session.destination_port, session.listener_id)
    backend = f"backend={link.name} (id={link.spec.id} mode={link.spec.mode.value})" if link else "backend=<NONE> (id=-1 mode=-)"
    lines = [
        f"{seen.id}: [{date(stream.started_at, 6)}] id={stream.number} proto={family(session.source)} source={_source(session)}",
        f"  phase={seen.phase}, conn_retries={stream.retries}, conn_exp={waits.get('c', '<NEVER>')},"
        f" queued_behind={stream.queue_position_server or stream.queue_position_backend}, worker={seen.worker}",
        f"  frontend={side.name} (id={side.spec.id} mode={side.spec.mode.value}), listener={listener}"
        f" (id={session.listener_id}) addr={to}",
        f"  {backend}" + (f" addr={endpoint(stream.source_address, stream.source_port)}" if stream.source_port else ""),
        f"  {_server(stream)}",
        f"  task (exp={expiry(left)} age={duration(seen.age)} streams={session.streams})",
    ]
    if isinstance(stream, HttpStream):
        lines.append(
            f"  txn meth={stream.original_method.decode('ascii', 'replace') or '-'} status={stream.status}"
            f" req.st={_message_state(stream, request=True)} rsp.st={_message_state(stream, request=False)}"
            f" termination={stream.termination.decode()}"
        )
        if stream.original_target:
            lines.append(f'  uri="{_uri(stream)}"')
    mux = "H1" if seen.http else "PASS"
    to_server = (
        f" ctrl={family(stream.server_address)} xprt={_layer(seen.server)} mux={mux} fd={_fd(seen.server)}" if seen.server else ""
    )
    lines += [
        f"  scf state=EST ctrl={family(session.source)} xprt={_layer(seen.client)} mux={mux} fd={_fd(seen.client)}",
        f"  scb state={seen.state[1]}{to_server}",
        f"  req (f=0x{request:x} total={stream.bytes_in} held={held_request}"
        f" rex={waits.get('qrx', '<NEVER>')} wex={waits.get('qwx', '<NEVER>')} an_exp={waits.get('qax', '<NEVER>')})",
        f"  res (f=0x{response:x} total={stream.bytes_out} held={held_response}"
        f" rex={waits.get('prx', '<NEVER>')} wex={waits.get('pwx', '<NEVER>')})",
    ]
    return "\n".join(lines)


def _server(stream: _AnyStream) -> str:
    server = stream.server
    if server is None:
        return "server=<NONE> (id=-1)"
    number = server.id if isinstance(server, ServerState) else -1
    address = f" addr={endpoint(stream.server_address, stream.server_port)}" if stream.server_port else ""
    return f"server={server.name} (id={number}){address}"


def _message_state(stream: HttpStream, *, request: bool) -> str:
    if request:
        if stream.request is None:
            return "MSG_ERROR"
        return "MSG_DONE" if stream.request_done else "MSG_DATA"
    if stream.phase == exchange.RELAY:
        return "MSG_TUNNEL"
    if stream.response is None:
        return "MSG_RPBEFORE"
    return "MSG_DONE" if stream.response_done else "MSG_DATA"


def _layer(channel: Channel | None) -> str:
    return "SSL" if channel is not None and channel.tls is not None else "RAW"


# --- shutdown session ------------------------------------------------------------------------------------------------


def _shut(words: Sequence[str], context: Context) -> bool:
    if not words:
        raise CommandError("Session pointer expected (use 'show sess').")
    wanted = _identifier(words[0], _NO_SUCH)
    worker = context.inspection.worker or 1
    for session, stream in streams(context):
        if stream_id(worker, stream) == wanted:
            session.end_stream(Outcome.KILLED_BY_ADMIN)
            return True
    return False


def _shut_anywhere(_: Sequence[str], facts: Mapping[int, bool]) -> str:
    if not any(facts.values()):
        raise CommandError(_NO_SUCH)
    return ""


COMMANDS: tuple[Command, ...] = (
    gathered(
        "show sess",
        "[<id>|all|help] [<options>*] : report the list of current streams or dump this exact stream",
        Level.OPERATOR,
        _collect,
        _render,
    ),
    gathered("shutdown session", "[id] : kill a specific session", Level.ADMIN, _shut, _shut_anywhere),
)
