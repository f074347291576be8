"""Reading whole configurations.

Golden files: `language/*.cfg` hold a configuration, a line of `=`, and what reading it must say and make.

With HEADGATE_GOLDEN=write in the environment the expectations are written anew, to be reviewed as a diff.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location, Report, Severity, render
from headgate.config import keywords
from headgate.config.expression import Criterion, LogFormat, SampleExpression
from headgate.config.load import MOST_ERRORS, load
from headgate.config.predicates import BuildFacts
from headgate.config.section_drafts import PathPolicy

FOLDER = Path(__file__).with_name("language")
SEPARATOR = "=" * 40
FACTS = BuildFacts("3.5.0", frozenset({"OPENSSL"}), "OpenSSL 3.5.1", "3.5.1", frozenset({"EPOLL"}))


def short(value: Any) -> str:
    """One value in a word or two."""
    if isinstance(value, Address):
        return f"{value} ({value.family.value} {value.transport.value})"
    if isinstance(value, (LogFormat, SampleExpression)):
        return repr(value.text)
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, (frozenset, set)):
        return "{" + ", ".join(sorted(short(item) for item in value)) + "}"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(short(item) for item in value) + ")"
    return repr(value)


def is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list, frozenset)):
        return all(is_plain(item) for item in value)
    networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    known = (Address, LogFormat, SampleExpression, enum.Enum, str, bytes, int, float, type(None), *networks)
    return isinstance(value, known)


def dump(name: str, value: Any, indent: int = 0) -> Iterator[str]:
    """A model object as lines: only what differs from its default, no places."""
    pad = "  " * indent
    if is_plain(value):
        yield f"{pad}{name}: {short(value)}"
    elif dataclasses.is_dataclass(value):
        yield f"{pad}{name}: {type(value).__name__}"
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
            if isinstance(inner, Location) or inner == default or not field.repr:
                continue
            if isinstance(value, Criterion) and field.name == "patterns":
                inner = tuple(pattern.text for pattern in inner)
            yield from dump(field.name, inner, indent + 1)
    elif isinstance(value, Mapping):
        for key in value:
            yield from dump(f"{name}[{short(key)}]", value[key], indent)
    else:
        for number, item in enumerate(value):
            yield from dump(f"{name}[{number}]", item, indent)


def result(config_text: str, folder: Path) -> str:
    """What reading the text says and makes."""
    (folder / "haproxy.cfg").write_text(config_text, encoding="utf-8", errors="surrogateescape")
    report = Report()
    config = load(["haproxy.cfg"], {"NAME": "value", "LIST": "a b"}, FACTS, report)
    lines = [f"{item.severity.name}: {render(item)}" for item in report.items if item.severity is not Severity.DIAG]
    lines += [f"DIAG: {item.message}" for item in report.items if item.severity is Severity.DIAG]
    if config is not None:
        lines.append("Configuration file is valid")
        for field in [field for field in dataclasses.fields(config) if field.repr]:
            lines += dump(field.name, getattr(config, field.name))
    text = "\n".join(line.rstrip() for line in "\n".join(lines).split("\n")) + "\n"
    # Long lists of words grow with every keyword that is implemented.
    return re.sub(r"allowed here: .* and \d+ more", "allowed here: (many)", text)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.cfg")), ids=lambda path: path.stem)
def test_golden(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_text, separator, expected = path.read_text(encoding="utf-8").partition(f"\n{SEPARATOR}\n")
    monkeypatch.chdir(tmp_path)
    found = result(config_text + "\n", tmp_path)
    if os.environ.get("HEADGATE_GOLDEN") == "write":
        path.write_text(f"{config_text.rstrip()}\n{SEPARATOR}\n{found}", encoding="utf-8")
        return
    assert separator, f"{path.name} has no expectation"
    assert found == expected


def read(paths: list[str]) -> tuple[list[str], Any]:
    """The messages of a load, and its result."""
    report = Report()
    config = load(paths, {}, FACTS, report)
    return [f"{item.location or ''}: {item.message}" for item in report.items], config


SMALL = (
    "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
    "listen {name}\n bind :80\n server s 192.0.2.1:80\n"
)


def test_several_files_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.cfg").write_text(SMALL.format(name=name))
    messages, config = read([str(tmp_path / "b.cfg"), str(tmp_path / "a.cfg")])
    assert messages == []
    assert [proxy.name for proxy in config.proxies] == ["b", "a"]


def test_directory_in_c_order(tmp_path: Path) -> None:
    for name in ("b.cfg", "A.cfg", "a.cfg", ".hidden.cfg", "c.txt"):
        (tmp_path / name).write_text(SMALL.format(name=name.strip(".").replace(".", "-")))
    (tmp_path / "d.cfg").mkdir()
    messages, config = read([str(tmp_path)])
    assert messages == []
    assert [proxy.name for proxy in config.proxies] == ["A-cfg", "a-cfg", "b-cfg"]


def test_a_section_ends_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(SMALL.format(name="a"))
    (tmp_path / "b.cfg").write_text(" maxconn 5\n")
    messages, config = read([str(tmp_path)])
    assert config is None
    assert messages == [f"{tmp_path}/b.cfg:1:2: 'maxconn' stands before the first section of the file"]


@pytest.mark.parametrize("name", ["missing.cfg", "dir", "x\0y"])
def test_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    messages, config = read([name])
    assert config is None
    assert len(messages) == 1
    assert name in messages[0]


def test_unreadable_file_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.cfg").write_text("global\n nonsense\n")
    messages, _ = read([str(tmp_path / "missing.cfg"), str(tmp_path / "bad.cfg")])
    assert "No such file or directory" in messages[0]
    assert "unknown keyword 'nonsense'" in messages[1]


def test_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_bytes(SMALL.format(name="a").replace("\n", "\r\n").encode())
    messages, config = read([str(tmp_path / "a.cfg")])
    assert messages == []
    assert config.proxies[0].name == "a"


def test_errors_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text("global\n" + " nonsense\n" * (MOST_ERRORS + 100))
    messages, _ = read([str(tmp_path / "a.cfg")])
    assert len(messages) == MOST_ERRORS + 2
    assert messages[-1] == f": more than {MOST_ERRORS} errors: the rest was not read"


def test_variables_of_the_language_are_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text("global\n setenv X 1\n")
    environment: dict[str, str] = {}
    load([str(tmp_path / "a.cfg")], environment, FACTS, Report())
    assert environment == {"X": "1", "HAPROXY_BRANCH": "3.5", "HAPROXY_STARTUP_VERSION": "3.5.0"}


def test_resetenv(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text("global\n resetenv KEEP\n")
    environment = {"KEEP": "1", "DROP": "2"}
    load([str(tmp_path / "a.cfg")], environment, FACTS, Report())
    assert environment == {"KEEP": "1"}


@pytest.mark.parametrize(
    ("policy", "base"),
    [("current", ""), ("config", "/etc/h/"), ("parent", "/etc/h/../"), ("origin", "/srv")],
)
def test_default_path(policy: str, base: str) -> None:
    assert PathPolicy(policy, "/srv").base("/etc/h/a.cfg") == base


def test_default_path_without_a_directory() -> None:
    assert PathPolicy("config").base("a.cfg") == ""
    assert PathPolicy("parent").base("a.cfg") == "../"


def test_log_send_hostname_chooses_the_format(tmp_path: Path) -> None:
    lines = "global\n log-send-hostname\n log 192.0.2.1 local0\n log 192.0.2.1 format local local0\n"
    (tmp_path / "a.cfg").write_text(lines)
    _, config = read([str(tmp_path / "a.cfg")])
    assert [target.format for target in config.global_.log_targets] == ["rfc3164", "local"]


def test_passwords_are_never_shown(tmp_path: Path) -> None:
    for path in FOLDER.glob("*users*.cfg"):
        assert "TOPSECRET" not in path.read_text().partition(SEPARATOR)[2]
        assert "elgato" not in path.read_text().partition(SEPARATOR)[2]


def test_every_family_of_keywords_is_loaded() -> None:
    """A family that is not imported would silently lose its rows."""
    folder = Path(keywords.__file__).parent
    adding = {path.stem for path in folder.glob("*.py") if "KEYWORDS.add(" in path.read_text()}
    assert adding <= {name.rpartition(".")[2] for name in sys.modules if name.startswith("headgate.config.keywords.")}
