"""Checks of protocols that need no rules (manual 4.2): each kind is a row, a function from arguments to the steps of a script.

They run on the same machine as rules do. `programs` looks here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headgate.health.protocols import ldap, mysql, pgsql, redis, smtp, spop, tls
from headgate.health.steps import Step

#: By the kind of `CheckSpec`.
PROTOCOLS: Mapping[str, Callable[..., tuple[Step, ...]]] = {
    "ldap": ldap.steps,
    "mysql": mysql.steps,
    "pgsql": pgsql.steps,
    "redis": redis.steps,
    "smtp": smtp.steps,
    "spop": spop.steps,
    "ssl-hello": tls.steps,
}
