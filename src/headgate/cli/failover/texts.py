"""The two files that keepalived needs, as text."""

from __future__ import annotations

from headgate import __version__
from headgate.base.addresses import Family
from headgate.cli.failover.plan import FailoverPlan

#: Names of the files.
CONFIGURATION, CHECK = "keepalived.conf", "check-headgate"

_CHECK = '''\
#!/usr/bin/python3 -I
"""Exit code 0 when headgate serves and is not about to stop. Written by `headgate failover-config`."""
import socket
import sys

FAMILY, ADDRESS = socket.{family}, {address!r}

try:
    with socket.socket(FAMILY) as asked:
        asked.settimeout(1.5)
        asked.connect(ADDRESS)
        asked.sendall(b"show info\\n")
        answer = b""
        while data := asked.recv(65536):
            answer += data
except OSError as error:
    sys.exit(f"headgate does not answer: {{error}}")
sys.exit(0 if b"\\nStopping: 0\\n" in answer else "headgate is stopping")
'''


def check_script(plan: FailoverPlan) -> str:
    """The program that keepalived runs once a second."""
    check = plan.check
    if check.family is Family.UNIX:
        return _CHECK.format(family="AF_UNIX", address=check.host)
    host = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(check.host, check.host)
    family = "AF_INET6" if ":" in host else "AF_INET"
    return _CHECK.format(family=family, address=(host, check.port))


def keepalived_configuration(plan: FailoverPlan, directory: str, user: str = "root") -> str:
    """keepalived.conf.

    Args:
        plan: what it is to do.
        directory: where the check script will lie.
        user: whom the check script runs as; must be able to open the stats socket.
    """
    wishes = plan.wishes
    interface = plan.floating[0].interface
    lines = [
        f"# Written by headgate {__version__}, `headgate failover-config`. The other machine's file differs in `priority`"
        + (" and the peers" if wishes.peers else "") + ".",
        "",
        "global_defs {",
        "    enable_script_security",
        f"    script_user {user}",
        "    vrrp_version 3",
        "    vrrp_garp_master_refresh 60",
        "}",
        "",
        "# Healthy: the runtime API answers and no soft stop is under way.",
        "vrrp_script headgate {",
        f'    script "{directory}/{CHECK}"',
        "    interval 1",
        "    timeout 2",
        "    fall 2",
        "    rise 2",
        "}",
        "",
        "vrrp_instance headgate {",
        "    state BACKUP",
        *([] if wishes.preempt else ["    nopreempt    # who has the address keeps it: no second interruption"]),
        f"    interface {interface}",
        f"    virtual_router_id {plan.router_id}",
        f"    priority {wishes.priority}",
        f"    advert_int {wishes.interval:g}",
    ]
    if wishes.peers:
        lines += ["    unicast_peer {", *[f"        {peer}" for peer in wishes.peers], "    }"]
    lines.append("    virtual_ipaddress {")
    for one in plan.floating:
        places = [f"{file}:{line}" for file, line in sorted({(bind.location.file, bind.location.line) for bind in one.binds})]
        lines.append(f"        {one.host}/{one.host.max_prefixlen} dev {one.interface}    # bound in {', '.join(places)}")
    lines += ["    }", "    track_script {", "        headgate", "    }", "}", ""]
    return "\n".join(lines)
