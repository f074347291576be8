"""Converters of strings (manual 7.3.1)."""

from __future__ import annotations

from headgate.plan.registry import pure
from headgate.plan.samples import Type

pure("lower", takes=Type.STR, result=Type.STR, convert=lambda value: value.lower())
pure("upper", takes=Type.STR, result=Type.STR, convert=lambda value: value.upper())
pure("length", takes=Type.STR, result=Type.SINT, convert=len)
