"""The form of the statistics page: changes of servers, made with the commands of the runtime API (manual 4.2 "stats admin")."""

from __future__ import annotations

from collections.abc import Generator

from headgate.observe.page.facts import Row, Selection, rows_of
from headgate.observe.page.request import Wanted, is_from_our_page, read_change
from headgate.observe.service import Ask, Begin, Question, Script, Step

#: Value in the form -> the command, and what the select box says.
ACTIONS: dict[str, tuple[str, str]] = {
    "ready": ("set server {} state ready", "Set state to READY"),
    "drain": ("set server {} state drain", "Set state to DRAIN"),
    "maint": ("set server {} state maint", "Set state to MAINT"),
    "dhlth": ("disable health {}", "Health: disable checks"),
    "ehlth": ("enable health {}", "Health: enable checks"),
    "hrunn": ("set server {} health up", "Health: force UP"),
    "hnolb": ("set server {} health stopping", "Health: force NOLB"),
    "hdown": ("set server {} health down", "Health: force DOWN"),
    "dagent": ("disable agent {}", "Agent: disable checks"),
    "eagent": ("enable agent {}", "Agent: enable checks"),
    "arunn": ("set server {} agent up", "Agent: force UP"),
    "adown": ("set server {} agent down", "Agent: force DOWN"),
    "shutdown": ("shutdown sessions server {}", "Kill sessions"),
}
#: As forms of long ago name them.
_OLD = {"start": "ready", "stop": "maint"}

#: Code behind `;st=` -> how it looks and what is said.
MESSAGES: dict[str, tuple[str, str]] = {
    "DONE": ("up", "Action processed successfully."),
    "NONE": ("nocheck", "Nothing has changed."),
    "PART": ("falling", "Action partially processed: some servers are unknown, or refused the change."),
    "ERRP": ("down", "Action not processed: the action, the backend or all of the servers are unknown, or refused the change."),
    "EXCD": ("down", "Action not processed: the request was too long. Retry with fewer servers at a time."),
    "DENY": ("down", "Action denied."),
    "IVAL": ("down", "Invalid request."),
    "UNKN": ("nocheck", "Unexpected result."),
}


def answer_form(question: Question, wanted: Wanted) -> Script:
    """Carry out what was posted and lead back to the page, which says what came of it."""
    status = yield from _carry_out(question, wanted)
    location = wanted.link("st=" + status, *wanted.kept())
    fields = b"cache-control: no-cache\r\ncontent-type: text/plain\r\nlocation: " + location.encode() + b"\r\n"
    yield Begin(303, fields, b"")


def _carry_out(question: Question, wanted: Wanted) -> Generator[Step, str, str]:
    if not question.service.admin or not is_from_our_page(question.head):
        return "DENY"
    if not question.complete:
        return "EXCD"
    change = read_change(question.body)
    if change is None:
        return "ERRP"
    action = ACTIONS.get(_OLD.get(change.action, change.action))
    if action is None:
        return "ERRP"
    backends = [row for row in rows_of((yield Ask("show stat -1 2 -1"))) if _names(row, change.backend)]
    if len(backends) != 1:
        return "ERRP"
    backend = backends[0]
    if not Selection(wanted.selection.scope).takes(backend):
        return "DENY"
    if not change.servers:
        return "NONE"
    answer = yield Ask(f"show stat {backend['iid']} 4 -1")
    known = {row["svname"] for row in rows_of(answer)}
    done = 0
    for server in change.servers:
        # Only names that exist become part of a command.
        if server in known and not (yield Ask(action[0].format(f"{backend['pxname']}/{server}"))).strip():
            done += 1
    if done == len(change.servers):
        return "DONE"
    return "PART" if done else "ERRP"


def _names(row: Row, written: str) -> bool:
    return row["iid"] == written[1:] if written.startswith("#") else row["pxname"] == written
