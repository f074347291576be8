"""The commands about certificates, CA files and CRL files; `admin.commands.tls` has their rows and loads this when one is used.

Handlers get the words behind the command's name, the certificates (`admin.context.TlsSide`) and the process. What they refuse is
raised as `tls.transactions.Refused` or `CommandError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headgate.admin.context import Context, TlsSide
from headgate.admin.tls import authorities, certificates, lists, ticket_keys

TlsHandler = Callable[[Sequence[str], TlsSide, Context], str]
#: What other processes are told in the place of a command; see `admin.registry.Command.tells`.
TlsTeller = Callable[[Sequence[str], TlsSide], Sequence[str]]

HANDLERS: Mapping[str, TlsHandler] = {
    **certificates.HANDLERS, **authorities.HANDLERS, **lists.HANDLERS, **ticket_keys.HANDLERS,
}  # fmt: skip
TELLERS: Mapping[str, TlsTeller] = {
    **certificates.TELLERS, **authorities.TELLERS, **lists.TELLERS, **ticket_keys.TELLERS,
}  # fmt: skip
