"""Converters about certificates (manual 7.3.1): names of verification errors."""

from __future__ import annotations

from headgate.base.verify_errors import verify_error_name
from headgate.plan.registry import pure
from headgate.plan.samples import Type

pure("x509_v_err_str", takes=Type.SINT, result=Type.STR, convert=lambda number: verify_error_name(number).encode())
