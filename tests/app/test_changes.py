"""Servers and backends that change on the live objects of a process: commands in, then what the data plane would do."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from headgate.admin.commands import all_commands
from headgate.admin.registry import Level
from headgate.app.prepare import prepare
from headgate.app.process import App
from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.plan.facts import Session, Stream
from tests.admin.talk import Talk

CONFIG = """
global
    maxconn 100
defaults plain
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
    default-server inter 7s
defaults untold
    timeout connect 5s
frontend web from plain
    bind 127.0.0.1:0
    http-request set-var(txn.up) srv_is_up(app/s2)
    use_backend app if { path /app }
    use_backend %[path,field(3,/)] if { path_beg /named/ }
    default_backend rest
backend app from plain
    balance roundrobin
    cookie SRV insert dynamic
    dynamic-cookie-key K
    default-server weight 30 rise 5
    default-server name fast weight 70
    default-server name fast weight 77 maxconn 5
    use-server s1 if { path /s1 }
    server s1 127.0.0.1:18081 check
    server s2 127.0.0.1:18082 weight 10 cookie own
    server s3 127.0.0.1:18083
backend rest from plain
    balance source
    server only 127.0.0.1:18084 weight 8
"""


@pytest.fixture
def app(tmp_path: pathlib.Path) -> Any:
    path = tmp_path / "haproxy.cfg"
    path.write_text(CONFIG)
    report = Report()
    config = load([str(path)], dict(os.environ), BuildFacts(), report)
    assert config is not None, report.alerts
    prepared = prepare(config, report)
    assert prepared is not None, report.alerts
    made = App(prepared)
    yield made
    made.live.close()


Ask = Callable[[str], str]


@pytest.fixture
def ask(app: App) -> Ask:
    talk = Talk(all_commands(), app.control, Level.ADMIN)
    talk.line("prompt i; experimental-mode on")
    return lambda line: talk.line(line).rstrip("\n")


def chosen(app: App, backend: str, times: int = 1) -> list[str]:
    """The servers that so many streams get."""
    state = app.backends[backend].state
    found = []
    for _ in range(times):
        server = state._selector.choose(None, None)
        found.append(server.name if server is not None else "")
    return found


def test_a_server_comes_and_goes(app: App, ask: Ask) -> None:
    assert ask("add server app/n1 127.0.0.1:1234 weight 40 check") == "New server registered."
    assert ask("add server app/n1 127.0.0.1:1234") == "Already exists a server with the same name in backend."
    assert ask("show servers state app").splitlines()[-1].startswith("3 app 4 n1 127.0.0.1 0 1 40 40 ")
    assert "n1" not in chosen(app, "app", 60)
    assert ask("enable health app/n1") == "" == ask("enable server app/n1")
    assert chosen(app, "app", 60).count("n1") > 20
    server = app.backends["app"].state.server("n1")
    assert server is not None and server.check is not None and server.check.inter == 2.0
    assert app.live.endpoints[server].port == 1234 and "n1" in app.backends["app"].pools
    assert ask("del server app/n1") == "Only servers in maintenance mode can be deleted."
    ask("disable server app/n1")
    server.sessions = 1
    assert ask("del server app/n1") == "Server still has connections attached to it, cannot remove it."
    server.sessions = 0
    assert ask("del server app/n1") == "Server deleted."
    assert server not in app.live.endpoints and "n1" not in app.backends["app"].pools
    assert server not in app.checker().checked
    assert ask("del server app/n1") == "No such server."


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("app", "Require 'backend/server'."),
        ("nobody/n1 127.0.0.1:1", "No such backend."),
        ("rest/n1 127.0.0.1:1", "Backend must use a dynamic load balancing to support dynamic servers."),
        ("app/n1", "'server' expects <name> and <addr>[:<port>] as arguments."),
        ("app/n1 127.0.0.1:1 bogus", "unknown keyword 'bogus'."),
        ("app/n1 127.0.0.1:1 weight 5 bogus", "unknown keyword 'bogus'."),
        ("app/n1 127.0.0.1:1 resolvers x", "'resolvers' option is not accepted for dynamic server"),
        ("app/n1 127.0.0.1:1 init-addr none", "'init-addr' option is not accepted for dynamic server"),
        ("app/n1 127.0.0.1:1 weight 999", "weight must be from 0 to 256, not 999"),
        ("app/n1 127.0.0.1:1 id 1", "'id' : custom id 1 already used by server 's1'."),
        ("app/n1 127.0.0.1 check", "config: backend 'app': server 'n1' has neither service port nor check port nor tcp_check rule"
         " 'connect' with port information."),
        ("app/b@d 127.0.0.1:1", "character '@' is not permitted in server name 'b@d'."),
        ("app/n1 127.0.0.1:1 from srv:nobody", "'from': 'app' has neither a server nor a default-server called 'nobody'."),
        ("app/n1 127.0.0.1:1 from be:nowhere", "'from': there is no backend 'nowhere'."),
        ("app/n1 127.0.0.1:1 from s2", "'from': 's2' is nothing that a server can begin with."),
        ("app/n1 127.0.0.1:1 from", "'from' expects one of none, be:[<backend>], srv:[<backend>/]<server>."),
    ],
)
def test_what_can_not_be_added(ask: Ask, app: App, line: str, answer: str) -> None:
    assert ask(f"add server {line}") == answer
    assert len(app.backends["app"].state.servers) == 3


def test_servers_that_track_others(ask: Ask) -> None:
    assert ask("add server app/n1 127.0.0.1:1 check") == "New server registered."
    assert ask("add server app/n2 127.0.0.1:1 track app/n1") == (
        "unable to use app/n1 for tracking as it is a dynamic server."
    )
    assert ask("add server app/n3 127.0.0.1:1 track app/s1 check") == "unable to enable checks and tracking at the same time!"
    refused = "'init-state' can't be used where another server is tracked."
    assert ask("add server app/n4 127.0.0.1:1 init-state up track app/s1") == refused
    assert ask("add server app/n5 127.0.0.1:1 track s1 agent-check agent-port 90") == "New server registered."


def test_where_a_new_server_starts_from(app: App, ask: Ask) -> None:
    for words in ("a 127.0.0.1:1", "b 127.0.0.1:1 from be: weight 31", "c 127.0.0.1:1 from srv:s2", "d name.example:7",
                  "e 127.0.0.1:1 enabled id 50 cookie mine", "f 127.0.0.1:1 from srv:fast", "g 127.0.0.1:1 from srv:rest/only",
                  "h 127.0.0.1:1 from none"):
        assert ask(f"add server app/{words}") == "New server registered."
    servers = {server.name: server for server in app.backends["app"].state.servers}
    assert [servers[name].weight for name in "abcfgh"] == [1, 31, 10, 77, 8, 1]
    assert [servers[name].id for name in "abcdefgh"] == [4, 5, 6, 7, 50, 8, 9, 10]
    assert servers["c"].cookie == servers["a"].cookie and servers["e"].cookie == b"mine"
    assert not servers["d"].up and servers["e"].state == "UP" and servers["a"].state == "MAINT"
    assert ask("set server app/d addr 192.0.2.1") == "IP changed from 'name.example' to '192.0.2.1' by 'stats socket command'"
    assert servers["d"].up and app.live.endpoints[servers["d"]].host == "192.0.2.1"
    assert "weight" in ask("add server help").splitlines() and "resolvers" not in ask("add server help").splitlines()
    assert ask("show default-server") == "# <origin>\nbe:app\nsrv:app/fast\nbe:rest"


def test_what_the_configuration_names_stays(ask: Ask) -> None:
    message = "This server cannot be {} at runtime due to other configuration elements pointing to it."
    for name in ("s1", "s2"):
        ask(f"disable server app/{name}")
        assert ask(f"del server app/{name}") == message.format("removed")
        assert ask(f"set server app/{name} name other") == message.format("renamed")
    assert ask("set server app/s3 name other") == "Only servers in maintenance mode can be renamed."
    ask("disable server app/s3")
    assert ask("set server app/s3 name s1") == "Already exists a server with the same name in backend."
    assert ask("set server app/s3 name new") == "" == ask("enable server app/new")
    assert "3 app 3 new 127.0.0.1" in ask("show servers state app")
    assert ask("disable server app/new;del server app/#3").endswith("Server deleted.")


def test_addresses(app: App, ask: Ask) -> None:
    who = " by 'stats socket command'"
    server = app.backends["app"].state.server("s3")
    assert server is not None
    before = server.cookie
    assert ask("set server app/s3 addr 192.0.2.9 port 80") == (
        "IP changed from '127.0.0.1' to '192.0.2.9', port changed from '18083' to '80'" + who
    )
    assert server.cookie not in (before, None)
    assert ask("set server app/s3 addr 192.0.2.9") == "no need to change the addr" + who
    assert ask("set server app/s3 addr 192.0.2.9 port x") == (
        "no need to change the addr, problem converting port 'x' to an int" + who
    )
    assert "can't change <port> to port map" in ask("set server app/s3 addr 192.0.2.9 port +5")
    assert ask("set server app/s3 addr ::1") == "IP changed from '192.0.2.9' to '::1'" + who
    endpoint = app.live.endpoints[server]
    assert (endpoint.host, endpoint.port) == ("::1", 80)
    assert " s3 ::1 " in ask("show servers state app")
    assert ask("set server app/s1 check-addr 192.0.2.7 port 77") == ""
    answer = ask("set server app/s1 addr 127.0.0.1 port +5")
    assert answer == "no need to change the addr, port changed from '18081' to '+5'" + who
    checked = next(iter(app.checker().checked.values()))
    assert (checked.plan.timing.address.host, checked.plan.timing.port) == ("192.0.2.7", 77)  # type: ignore[union-attr]
    assert "18082" in ask("show servers state app") and " 77 192.0.2.7 " in ask("show servers state app")
    assert ask("set server app/s1 ssl on") == "'set server <srv> ssl' cannot be set.  default-server should define ssl settings"


def test_tls_servers_have_contexts_of_their_own(app: App, ask: Ask) -> None:
    answer = ask("add server app/t1 127.0.0.1:1 ssl")
    assert "ca-file" in answer and app.backends["app"].state.server("t1") is None
    assert "nosuch.pem" in ask("add server app/t1 127.0.0.1:1 ssl verify required ca-file /nosuch.pem")
    assert ask("add server app/t1 127.0.0.1:1 ssl verify none check") == "New server registered."
    server = app.backends["app"].state.server("t1")
    assert server is not None and app.live.endpoints[server].tls is not None
    assert ask("set server app/t1 ssl off") == "" and app.live.endpoints[server].tls is None and not server.tls
    assert ask("set server app/t1 ssl on") == "" and app.live.endpoints[server].tls is not None
    assert ask("del server app/t1") == "Server deleted."
    assert id(server.spec) not in app.prepared.server_contexts


def test_backends_come_and_go(app: App, ask: Ask) -> None:
    assert ask("show defaults") == "# name\nplain\nuntold"
    assert ask("add backend app from plain") == "'app' is the name of another proxy."
    assert ask("add backend new from nobody") == "Cannot find default proxy 'nobody'."
    assert ask("add backend new from untold") == "Mode is required as the default proxy does not define it explicitly."
    assert ask("add backend new from plain mode log") == "Only TCP and HTTP proxies can be created."
    assert ask("add backend new from plain") == "New backend registered."
    choose = app.frontends["web"].choose_backend

    def backend_of(path: str) -> str | None:
        from headgate.wire.http1.heads import RequestHead

        stream = Stream(Session(app.live.world, app.frontends["web"].plan))
        stream.request = RequestHead(b"GET", path.encode(), 11, [])
        found = choose(stream)
        return None if found is None else found.name

    assert backend_of("/named/new") == "rest", "it is not published yet"
    assert ask("publish backend new") == "Backend published."
    assert backend_of("/named/new") == "new"
    assert ask("add server new/a 127.0.0.1:1 enabled") == "New server registered."
    assert chosen(app, "new") == ["a"]
    assert "new,a," in ask("show stat") and "new" in ask("show backend").splitlines()
    assert ask("del backend new") == "Backend must be unpublished prior to its deletion."
    assert ask("unpublish backend new") == "Backend unpublished." and backend_of("/named/new") == "rest"
    assert ask("del backend new") == "Only a backend without servers can be deleted."
    assert ask("disable server new/a;del server new/a").endswith("Server deleted.")
    assert ask("del backend new") == "Backend deleted." and "new" not in app.backends
    assert backend_of("/app") == "app"
    assert ask("unpublish backend app") == "Backend unpublished." and backend_of("/app") == "rest"
    assert ask("unpublish backend rest") == "Backend unpublished." and backend_of("/app") is None
    assert "configuration elements" in ask("del backend rest") or "without servers" in ask("del backend rest")


def test_variables(ask: Ask, app: App) -> None:
    assert ask("get var proc.x") == "Variable not found."
    assert ask("set var proc.x int(5)") == "" and ask("get var proc.x") == "proc.x: type=sint value=<5>"
    assert ask("set var proc.y fmt %[str(a)]b") == "" and ask("get var proc.y") == "proc.y: type=str value=<ab>"
    assert ask("set var proc.z expr var(proc.x),add(1)") == "" and ask("get var proc.z") == "proc.z: type=sint value=<6>"
    assert ask("set var txn.y int(1)") == "'set var': cannot set variable 'txn.y', only scope 'proc' is permitted here."
    assert ask("set var proc.z") == "Missing either 'expr', 'fmt' or expression."
    assert "bogus" in ask("set var proc.z bogus") and "nothing to look at" in ask("set var proc.k req.hdr(host)")
    talk = Talk(all_commands(), app.control, Level.ADMIN)
    assert talk.line("set var proc.x int(6)") == "This command is restricted to experimental mode only.\n\n"


def test_dynamic_cookies(ask: Ask, app: App) -> None:
    servers = app.backends["app"].state.servers
    before = [server.cookie for server in servers]
    assert before[1] == b"own" and before[0] == b"94d6cb97a407dad4", "what HAProxy makes of key, address and port"
    assert ask("set dynamic-cookie-key backend app L") == ""
    assert servers[0].cookie not in (before[0], None) and servers[1].cookie == b"own"
    assert ask("disable dynamic-cookie backend app") == "" and servers[0].cookie is None
    assert ask("set dynamic-cookie-key backend app K;enable dynamic-cookie backend app").strip() == ""
    assert [server.cookie for server in servers] == before
    assert ask("set dynamic-cookie-key backend app") == "String value expected."


def test_rate_limits(ask: Ask, app: App) -> None:
    assert ask("set rate-limit sessions global 7") == "" and app.shared.gates.sessions.limit == 7
    assert ask("set rate-limit nothing global 7").startswith("'set rate-limit' only supports :")
    assert "Nothing is compressed" in ask("set rate-limit http-compression global 7")
