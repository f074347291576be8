from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.config.dump import dump
from headgate.config.model import Config, ErrorPage, ErrorSection, Global, Ring, User, Userlist

NOWHERE = Location("test.cfg", 1)


def test_one_fact_a_line_and_no_secret() -> None:
    config = Config(
        global_=Global(maxconn=10, tune={"tune.maxaccept": 4}),
        proxies=(),
        userlists={"people": Userlist("people", (User("ann", "tiger", True, ("a", "b")),), NOWHERE)},
        rings={"r": Ring("r", size=99)},
        error_sections={"e": ErrorSection("e", {404: ErrorPage(b"HTTP/1.0 404 No\r\n\r\n")}, NOWHERE)},
    )
    text = dump(config)
    assert "tiger" not in text
    assert text == (
        "global.maxconn = 10\n"
        "global.tune[tune.maxaccept] = 4\n"
        "userlist people.users[0].name = ann\n"
        "userlist people.users[0].insecure = yes\n"
        "userlist people.users[0].groups = a b\n"
        "ring r.size = 99\n"
        "http-errors e.name = e\n"
        "http-errors e.pages[404].raw = b'HTTP/1.0 404 No\\r\\n\\r\\n'\n"
    )


def test_nothing_to_say() -> None:
    assert dump(Config(Global(), (), {}, {}, {})) == ""
