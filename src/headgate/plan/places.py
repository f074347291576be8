"""Where in the life of a stream an expression is evaluated, and which fetches have something to look at there.

The groups are the columns and row shapes of the table that `haproxy -dKsmp` prints. A `listen` section is frontend and backend at
once, so its place is the union of two.
"""

from __future__ import annotations

import enum

from headgate.config.actions import Ruleset


class Place(enum.IntFlag):
    """One column each."""

    FE_TCP_CONNECTION = enum.auto()
    FE_TCP_SESSION = enum.auto()
    FE_TCP_CONTENT = enum.auto()
    FE_HTTP_REQUEST = enum.auto()
    FE_USE_BACKEND = enum.auto()
    BE_TCP_CONTENT = enum.auto()
    BE_HTTP_REQUEST = enum.auto()
    BE_SERVER_CHOICE = enum.auto()
    SERVER_CONNECT = enum.auto()
    BE_TCP_RESPONSE = enum.auto()
    BE_HTTP_RESPONSE = enum.auto()
    FE_TCP_RESPONSE = enum.auto()
    FE_HTTP_RESPONSE = enum.auto()
    LOG = enum.auto()
    CHECK = enum.auto()
    CONFIG = enum.auto()


P = Place
_REQUEST_FRONT = P.FE_TCP_CONTENT | P.FE_HTTP_REQUEST | P.FE_USE_BACKEND
_REQUEST_BACK = P.BE_TCP_CONTENT | P.BE_HTTP_REQUEST | P.BE_SERVER_CHOICE
_RESPONSE_RULES = P.BE_TCP_RESPONSE | P.BE_HTTP_RESPONSE | P.FE_TCP_RESPONSE | P.FE_HTTP_RESPONSE

ALWAYS = ~P(0)
#: Everything but the configuration parser.
RUNNING = ALWAYS & ~P.CONFIG
#: While there is a client connection.
CLIENT = RUNNING & ~P.CHECK
#: The client's connection and its handshakes are over: a session exists.
SESSION = CLIENT & ~P.FE_TCP_CONNECTION
#: A stream exists.
STREAM = SESSION & ~P.FE_TCP_SESSION
#: The request's contents; `SERVER_CONNECT` still has them.
REQUEST = _REQUEST_FRONT | _REQUEST_BACK | P.SERVER_CONNECT
#: What is remembered of the request until the log.
REQUEST_MEMORY = REQUEST | _RESPONSE_RULES | P.LOG
#: Once the backend is known.
BACKEND = _REQUEST_BACK | P.SERVER_CONNECT | _RESPONSE_RULES | P.LOG | P.CHECK
#: Once the server is known.
SERVER = P.SERVER_CONNECT | _RESPONSE_RULES | P.LOG | P.CHECK
#: The response's contents.
RESPONSE = _RESPONSE_RULES | P.CHECK
#: What is remembered of the response until the log.
RESPONSE_MEMORY = RESPONSE | P.LOG

CONTENT_RULES = P.FE_TCP_CONTENT | P.BE_TCP_CONTENT
RESPONSE_PLACES = RESPONSE

_NAMES = {
    P.FE_TCP_CONNECTION: "a tcp-request connection rule",
    P.FE_TCP_SESSION: "a tcp-request session rule",
    P.FE_TCP_CONTENT: "a tcp-request content rule",
    P.FE_HTTP_REQUEST: "an http-request rule",
    P.FE_USE_BACKEND: "a use_backend rule",
    P.BE_TCP_CONTENT: "a tcp-request content rule of a backend",
    P.BE_HTTP_REQUEST: "an http-request rule of a backend",
    P.BE_SERVER_CHOICE: "the choice of a server",
    P.SERVER_CONNECT: "a server line",
    P.BE_TCP_RESPONSE: "a tcp-response content rule",
    P.BE_HTTP_RESPONSE: "an http-response rule",
    P.FE_TCP_RESPONSE: "a tcp-response content rule",
    P.FE_HTTP_RESPONSE: "an http-response rule",
    P.LOG: "a log format",
    P.CHECK: "a check",
    P.CONFIG: "the configuration itself",
}

_RULESETS = {
    Ruleset.TCP_REQUEST_CONNECTION: (P.FE_TCP_CONNECTION, P(0)),
    Ruleset.TCP_REQUEST_SESSION: (P.FE_TCP_SESSION, P(0)),
    Ruleset.TCP_REQUEST_CONTENT: (P.FE_TCP_CONTENT, P.BE_TCP_CONTENT),
    Ruleset.TCP_RESPONSE_CONTENT: (P.FE_TCP_RESPONSE, P.BE_TCP_RESPONSE),
    Ruleset.HTTP_REQUEST: (P.FE_HTTP_REQUEST, P.BE_HTTP_REQUEST),
    Ruleset.HTTP_RESPONSE: (P.FE_HTTP_RESPONSE, P.BE_HTTP_RESPONSE),
    Ruleset.HTTP_AFTER_RESPONSE: (P.FE_HTTP_RESPONSE, P.BE_HTTP_RESPONSE),
}


def ruleset_place(ruleset: Ruleset, *, frontend: bool, backend: bool) -> Place:
    """The place of a ruleset in a frontend, a backend, or (both) a listen section."""
    front, back = _RULESETS[ruleset]
    return (front if frontend else P(0)) | (back if backend else P(0))


def name_of(place: Place) -> str:
    """How messages call a place; of a union the first."""
    for single, name in _NAMES.items():
        if single & place:
            return name
    return "this place"
