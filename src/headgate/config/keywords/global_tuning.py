"""Performance tuning in the global section (manual 3.2): what has a counterpart here is kept, the rest says why it has none."""

from __future__ import annotations

from collections.abc import Callable

from headgate.config.cursor import Cursor
from headgate.config.keywords.global_rows import switch, value, without_effect
from headgate.config.registry import KEYWORDS

_LARGEST = 0x7FFFFFFF
_SMALLEST_BUFFER, _LARGEST_BUFFER = 1024, 1 << 28


def _count(what: str, low: int = 0, high: int = _LARGEST) -> Callable[[Cursor], int]:
    return lambda cursor: cursor.integer(what, low, high)


def _bytes(what: str, low: int, high: int) -> Callable[[Cursor], int]:
    def read(cursor: Cursor) -> int:
        word = cursor.rest[0] if cursor.more else None
        size = cursor.size(what)
        if word is not None and not low <= size <= high:
            raise cursor.wrong(word, f"{what} must be from {low} to {high} bytes, not {size}")
        return size

    return read


KEYWORDS.add(
    value("maxconn", _count("a number of connections")),
    value("maxconnrate", _count("a number of connections a second")),
    value("maxsessrate", _count("a number of sessions a second")),
    value("maxsslconn", _count("a number of TLS connections")),
    value("maxsslrate", _count("a number of TLS sessions a second")),
    switch("nosplice"),
    value("spread-checks", _count("a percentage", 0, 50)),
    value("max-spread-checks", lambda cursor: cursor.time("a time")),
    value("tune.bufsize", _bytes("a buffer size", _SMALLEST_BUFFER, _LARGEST_BUFFER)),
    value("tune.cli.max-payload-size", _bytes("a size", 1024, 1 << 25)),
    value("tune.http.maxhdr", _count("a number of headers", 1, 32767)),
    value("tune.idletimer", lambda cursor: cursor.time("a time")),
    value("tune.maxrewrite", _bytes("a size", 0, _LARGEST_BUFFER)),
    value("tune.ssl.cachesize", _count("a number of sessions")),
    value("tune.ssl.capture-buffer-size", _count("a number of bytes")),
    value("tune.ssl.capture-cipherlist-size", _count("a number of bytes"), as_="tune.ssl.capture-buffer-size"),
    value("tune.ssl.certificate-compression", lambda cursor: cursor.choice("mode", {"auto": True, "off": False})),
    value("tune.ssl.default-dh-param", _count("a number of bits", 1024)),
    value("tune.ssl.hard-maxrecord", _count("a number of bytes")),
    value("tune.ssl.keylog", lambda cursor: cursor.choice("mode", {"on": True, "off": False})),
    value("tune.ssl.keyupdate-rate-limit", _count("a number of key updates a second")),
    value("tune.ssl.lifetime", lambda cursor: cursor.time("a time", "s")),
    value("tune.ssl.maxrecord", _count("a number of bytes")),
    value("tune.ssl.ssl-ctx-cache-size", _count("a number of certificates")),
    *without_effect("the event loop chooses how it polls", *"busy-polling noepoll noevports nokqueue nopoll".split()),
    *without_effect("the event loop chooses how it polls", *(
        "tune.epoll.mask-events tune.events.max-events-at-once tune.fd.edge-triggered tune.maxpollevents tune.runqueue-depth"
        " tune.sched.low-latency tune.max-rules-at-once tune.recv_enough"
    ).split()),
    *without_effect("host names are always resolved with getaddrinfo()", "nogetaddrinfo"),
    *without_effect("listening sockets are kept over a reload, not bound again", "noreuseport"),
    *without_effect("workers are processes, which the kernel spreads over the CPUs", *(
        "tune.idle-pool.shared tune.listener.default-shards tune.listener.multi-queue tune.takeover-other-tg-connections"
        " tune.renice.runtime tune.renice.startup tune.max-checks-per-thread tune.fd.tables tune.ring.queues"
        " tune.streams-elasticity"
    ).split()),
    *without_effect("each worker has a cache of its own, and tickets that all of them read", "tune.ssl.force-private-cache"),
    *without_effect("memory is managed by Python", *(
        "no-memory-trimming prealloc-fd maxpipes tune.buffers.limit tune.buffers.reserve tune.bufsize.large"
        " tune.bufsize.small tune.memory.hot-size tune.pool-high-fd-ratio tune.pool-low-fd-ratio tune.defaults.purge"
        " tune.fail-alloc tune.pattern.cache-size tune.pipesize tune.chksize"
    ).split()),
    *without_effect("data is forwarded without copies wherever that is possible", *(
        "tune.applet.zero-copy-forwarding tune.disable-fast-forward tune.disable-zero-copy-forwarding"
        " tune.h1.zero-copy-fwd-recv tune.h1.zero-copy-fwd-send tune.pt.zero-copy-forwarding"
    ).split()),
    *without_effect("variables live in Python objects and are not accounted", *(
        "tune.vars.check-max-size tune.vars.global-max-size tune.vars.proc-max-size tune.vars.reqres-max-size"
        " tune.vars.sess-max-size tune.vars.txn-max-size"
    ).split()),
    *without_effect("compression is not supported yet", *(
        "maxcompcpuusage maxcomprate maxzlibmem tune.comp.maxlevel tune.zlib.memlevel tune.zlib.windowsize"
    ).split()),
    value("tune.stick-counters", _count("a number of counters", 0, 100)),
    *without_effect("peers are not supported yet", "tune.peers.max-updates-at-once"),
    *without_effect("there is no Lua here", *(
        "tune.lua.bool-sample-conversion tune.lua.burst-timeout tune.lua.forced-yield tune.lua.log.loggers tune.lua.log.stderr"
        " tune.lua.maxmem tune.lua.openlibs tune.lua.service-timeout tune.lua.session-timeout tune.lua.task-timeout"
    ).split()),
    *without_effect("HTTP/2 is not served yet", *(
        "tune.h2.be.glitches-threshold tune.h2.be.initial-window-size tune.h2.be.max-concurrent-streams"
        " tune.h2.be.max-frames-at-once tune.h2.be.rxbuf tune.h2.fe.glitches-threshold tune.h2.fe.initial-window-size"
        " tune.h2.fe.max-concurrent-streams tune.h2.fe.max-frames-at-once tune.h2.fe.max-rst-at-once"
        " tune.h2.fe.max-total-streams tune.h2.fe.rxbuf tune.h2.header-table-size tune.h2.initial-window-size"
        " tune.h2.log-errors tune.h2.max-concurrent-streams tune.h2.max-frame-size tune.h2.zero-copy-fwd-send"
    ).split()),
    *without_effect("QUIC is not served yet", *(
        "tune.quic.be.cc.cubic-min-losses tune.quic.be.cc.hystart tune.quic.be.cc.max-frame-loss tune.quic.be.cc.max-win-size"
        " tune.quic.be.cc.reorder-ratio tune.quic.be.max-idle-timeout tune.quic.be.sec.glitches-threshold"
        " tune.quic.be.stream.data-ratio tune.quic.be.stream.max-concurrent tune.quic.be.stream.rxbuf tune.quic.be.tx.pacing"
        " tune.quic.be.tx.udp-gso tune.quic.fe.cc.cubic-min-losses tune.quic.fe.cc.hystart tune.quic.fe.cc.max-frame-loss"
        " tune.quic.fe.cc.max-win-size tune.quic.fe.cc.reorder-ratio tune.quic.fe.max-idle-timeout"
        " tune.quic.fe.sec.glitches-threshold tune.quic.fe.sec.retry-threshold tune.quic.fe.sock-per-conn"
        " tune.quic.fe.stream.data-ratio tune.quic.fe.stream.max-concurrent tune.quic.fe.stream.max-total"
        " tune.quic.fe.stream.rxbuf tune.quic.fe.tx.pacing tune.quic.fe.tx.udp-gso tune.quic.listen tune.quic.mem.tx-max"
        " tune.quic.zero-copy-fwd-send"
    ).split()),
    *without_effect("sockets are written to as soon as they take data", "tune.notsent-lowat.client", "tune.notsent-lowat.server"),
    *without_effect("the kernel sizes the buffers of sockets", *(
        "tune.rcvbuf.client tune.rcvbuf.server tune.sndbuf.client tune.sndbuf.server"
    ).split()),
    *without_effect("the length of a log line alone bounds what is logged of a URI", "tune.http.logurilen"),
    *without_effect("a captured cookie is as long as its 'capture' line says", "tune.http.cookielen"),
    *without_effect("how many connections an event accepts is fixed", "tune.maxaccept"),
    *without_effect("all sockets are connected", *(
        "tune.rcvbuf.backend tune.rcvbuf.frontend tune.sndbuf.backend tune.sndbuf.frontend"
    ).split()),
    *without_effect("counters of maxima are always kept", "stats calculate-max-counters"),
)
