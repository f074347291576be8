"""The templates of the page, and the policy that lets browsers run nothing but what stands in them."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


STYLE = _text("style.css")
SCRIPT = _text("page.js")
_module = Environment(autoescape=True).from_string(_text("page.html")).module


def write(macro: str, *arguments: Any) -> str:
    """What a macro of page.html makes of its arguments. All of them are escaped but style and script."""
    return str(getattr(_module, macro)(*arguments))


def inline() -> dict[str, Markup]:
    """Style and script, for the templates."""
    return {"style": Markup(STYLE), "script": Markup(SCRIPT)}


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


#: Header lines of every page.
SECURITY = (
    "content-security-policy: default-src 'none'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    f"frame-ancestors 'self'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}\r\n"
    "x-content-type-options: nosniff\r\nreferrer-policy: same-origin\r\n"
).encode()
