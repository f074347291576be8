"""The listening sockets of a process: opened or inherited, closed and opened again by the runtime API."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from headgate.app.live import Live
from headgate.app.prepare import StartError
from headgate.base.diagnostics import ConfigError, Diagnostic
from headgate.config.model import Bind
from headgate.proxy.sides import Frontend
from headgate.runtime.listener import Listener, TlsAcceptor, resume_all
from headgate.runtime.process.place import Place, Role
from headgate.runtime.sockets import DEFAULT_BACKLOG, open_listeners


class Doors:
    """All listeners of a process.

    Inherited sockets are shared with other processes: what is closed here goes on to listen there. To release a port for all of
    them, the one process that is not a mere worker shuts the socket itself, and makes it listen again.

    Args:
        live: whose frontends listen.
        place: what is inherited.
        options: of the command line.

    Attributes:
        listeners: of all frontends that are open.
    """

    def __init__(self, live: Live, place: Place, options: Any) -> None:
        self._live = live
        self._place = place
        self._reuse_port = not getattr(options, "no_reuse_port", False)
        self._serving = False
        self._accepts = place.role is not Role.CONTROLLER
        self.listeners: list[Listener] = []
        live.shared.session_ended = self._session_ended
        live.shared.tls.freed = self.accept_again

    @property
    def owns_files(self) -> bool:
        """Whether nobody above us answers for the files of unix sockets."""
        return self._place.role is Role.SINGLE and self._place.heritage.master is None

    # --- opening ---

    def open_all(self) -> list[Diagnostic]:
        """Open what all frontends listen on; says why, for each line that can't be opened."""
        problems: list[Diagnostic] = []
        if self._accepts:
            for side in self._live.frontends.values():
                for bind in side.plan.binds:
                    try:
                        self._open_line(side, bind)
                    except ConfigError as error:
                        problems.append(error.diagnostic)
        return problems

    def _open_line(self, side: Frontend, bind: Bind) -> list[Listener]:
        """Open the sockets of one bind line; raises ConfigError."""
        tls = self._answerer(bind)
        opened = [
            self._live.makers.listener(self._live.reactor, side, bind, sock, tls, (bind.id or 1) + index)
            for index, sock in enumerate(self._sockets(side, bind))
        ]
        self.listeners.extend(opened)
        return opened

    def _sockets(self, side: Frontend, bind: Bind) -> list[socket.socket]:
        inherited = self._place.heritage.sockets_of(bind)
        if inherited:
            return [sock.dup() for sock in inherited]  # a listener closes its own: these must outlive `disable frontend`
        return open_listeners(bind, _backlog(side, bind), reuse_port=self._reuse_port)

    def _answerer(self, bind: Bind) -> TlsAcceptor | None:
        context = self._live.prepared.bind_contexts.get(id(bind))
        if context is None:
            return None
        from headgate.runtime.early_tls_channel import EarlyAnswerer

        return EarlyAnswerer(context, self._live.tls_tuning())

    def start(self) -> None:
        """Accept from now on, where the runtime API has not closed a frontend meanwhile."""
        self._serving = True
        for listener in self.listeners:
            if not listener.open:
                listener.start()

    # --- changes ---

    def open(self, side: Frontend) -> None:
        """Listen (again) on all addresses of a frontend and accept.

        Raises:
            ConfigError: an address can't be bound; none is left open then.
        """
        side.stopped = False
        if self._place.role is not Role.WORKER:
            self._listen_again(side)
        if not self._accepts:
            return
        try:
            opened = [self._open_line(side, bind) for bind in side.plan.binds]
        except ConfigError:
            self.close(side)
            raise
        if self._serving:
            for line in opened:
                for listener in line:
                    listener.start()

    def close(self, side: Frontend) -> None:
        """Stop listening and release the ports of a frontend; its sessions go on."""
        side.stopped = True
        for listener in [one for one in self.listeners if one.side is side]:
            listener.stop()
            self.listeners.remove(listener)
        if self._place.role is not Role.WORKER:
            for sock, _ in self._inherited_ports(side):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)

    def _listen_again(self, side: Frontend) -> None:
        for sock, bind in self._inherited_ports(side):
            with contextlib.suppress(OSError):
                sock.listen(_backlog(side, bind))

    def _inherited_ports(self, side: Frontend) -> list[tuple[socket.socket, Bind]]:
        """Sockets that can be shut and made to listen again; a unix socket, once shut, stays so."""
        return [
            (sock, bind)
            for bind in side.plan.binds
            for sock in self._place.heritage.sockets_of(bind)
            if sock.family in (socket.AF_INET, socket.AF_INET6)
        ]

    def accept_again(self) -> None:
        """A limit was raised or a session ended: paused listeners may accept."""
        resume_all(self.listeners)

    def _session_ended(self, side: Frontend) -> None:
        for listener in self.listeners:
            if listener.paused:
                resume_all(self.listeners)
                break

    # --- the end ---

    def soft_stop(self) -> None:
        """Accept no more; who waits in a backlog is left to those who listen beside us or after us."""
        for listener in self.listeners:
            listener.stop()
        for side in self._live.frontends.values():
            for bind in side.plan.binds:
                for sock in self._place.heritage.sockets_of(bind):
                    sock.close()

    def shut(self) -> None:
        """Close all."""
        stopping = self._live.shared.stopping
        for listener in self.listeners:
            listener.stop()
            if self.owns_files and not stopping:
                listener.remove_file()

    def refuse(self, problems: list[Diagnostic]) -> None:
        """The process can't start. Raises StartError."""
        self.shut()
        raise StartError(problems)


def _backlog(side: Frontend, bind: Bind) -> int:
    return bind.backlog or side.spec.backlog or side.spec.maxconn or DEFAULT_BACKLOG
