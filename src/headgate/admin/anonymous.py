"""The anonymised mode (management manual 9.3, `set anon`): names and addresses in answers become hashes.

A hash has 24 bits: enough to see what belongs together, too few to find out what was hashed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

_NAMES = re.compile(r'\b(fe|be|srv|frontend|backend|server|listener)=([^ ,"<?]+)')
_ADDRESSES = re.compile(r"\b(src|source|addr)=([^ ,]+)")
_URI = re.compile(r'\buri="(\S+) ([^"]*)"')
_NODE = re.compile(r"^(\s*node name: )(.+)$", re.MULTILINE)
_VALUE = re.compile(r"^([^=\n]+=)(.*)$", re.MULTILINE)
_ADDRESS_COLUMNS = frozenset({"srv_addr", "srv_check_addr", "srv_agent_addr", "addr"})
_NAME_COLUMNS = frozenset({"be_name", "bkname", "srv_name", "svname", "srv_fqdn", "srvrecord"})
_EMPTY = frozenset({"-", "", "0"})


def hashed(text: str, key: int) -> str:
    """The hash of `text`, six hexadecimal digits.

    Args:
        text: what is to be hidden.
        key: 32 bits; the same key makes the same hashes.
    """
    return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=3, key=key.to_bytes(4, "big")).hexdigest()


def hashed_address(text: str, key: int) -> str:
    """An address with its host hidden; the port stays."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        host, port, colon = text, "", ""
    bare = host.strip("[]")
    kind = "IPV6" if ":" in bare else "IPV4" if bare.replace(".", "").isdecimal() else "PATH"
    if bare == "unix":
        return text  # unix:<listener> says nothing of anybody
    return f"{kind}({hashed(bare, key)}){colon}{port}"


def _of_streams(text: str, key: int) -> str:
    text = _ADDRESSES.sub(lambda found: f"{found[1]}={hashed_address(found[2], key)}", text)
    text = _URI.sub(lambda found: f'uri="{found[1]} {hashed(found[2], key)}"', text)
    return _NAMES.sub(lambda found: f"{found[1]}={hashed(found[2], key)}", text)


def _of_columns(text: str, key: int) -> str:
    """A table whose first line behind `#` names the columns."""
    columns: list[str] = []
    lines = []
    for line in text.split("\n"):
        if line.startswith("#"):
            columns = line[1:].split()
        elif columns and line.strip() and " " in line:
            cells = line.split(" ")
            line = " ".join([_cell(name, cell, key) for name, cell in zip(columns, cells, strict=False)] + cells[len(columns) :])
        lines.append(line)
    return "\n".join(lines)


def _cell(name: str, cell: str, key: int) -> str:
    if cell in _EMPTY:
        return cell
    if name in _NAME_COLUMNS:
        return hashed(cell, key)
    if name in _ADDRESS_COLUMNS:
        return hashed_address(cell, key)
    if name == "bkname/svname":
        return "/".join([hashed(part, key) for part in cell.split("/")])
    return cell


def _of_node(text: str, key: int) -> str:
    return _NODE.sub(lambda found: found[1] + hashed(found[2], key), text)


def _of_values(text: str, key: int) -> str:
    return _VALUE.sub(lambda found: found[1] + hashed(found[2], key), text)


#: Command -> what hides names and addresses in its answer.
_HIDERS: Mapping[str, Callable[[str, int], str]] = {
    "show sess": _of_streams,
    "show fd": lambda text, key: re.sub(
        r"\b(fe|sv)=(\S+)",
        lambda found: f"{found[1]}={hashed(found[2], key)}",
        re.sub(r"\b([lr]addr)=(\S+)", lambda found: f"{found[1]}={hashed_address(found[2], key)}", text),
    ),
    "show servers state": _of_columns,
    "show servers conn": _of_columns,
    "show dev": _of_node,
    "show env": _of_values,
}


def hide(command: str, text: str, key: int) -> str:
    """The answer to a command as the anonymised mode shows it; unchanged when the command has nothing to hide.

    Args:
        command: its name.
        text: whole lines of the answer.
        key: of the connection.
    """
    hider = _HIDERS.get(command)
    return text if hider is None else hider(text, key)
