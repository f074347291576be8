"""The environment variables that the configuration language defines by itself (manual 2.3).

The formats behind the `*_LOG_FMT` variables are those of chapter 8.2. The ones that only exist once the process runs
(HAPROXY_CFGFILES, HAPROXY_CLI, HAPROXY_MASTER_CLI, HAPROXY_MWORKER, HAPROXY_LOCALPEER) are set by `cli`.
"""

from __future__ import annotations

from collections.abc import MutableMapping

TCP_LOG_FORMAT = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"
TCP_CLF_LOG_FORMAT = (
    '%{+Q}o %{-Q}ci - - [%T] "TCP " 000 %B "" "" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq "" "" '
)
HTTP_LOG_FORMAT = (
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"
)
HTTP_CLF_LOG_FORMAT = (
    '%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS '
    "%hrl %hsl"
)
HTTPS_LOG_FORMAT = (
    f"{HTTP_LOG_FORMAT} %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc"
)

_KEYLOG_SECRETS = (
    "CLIENT_EARLY_TRAFFIC_SECRET",
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
    "EARLY_EXPORTER_SECRET",
)


def _keylog_format(side: str) -> str:
    """The key log of one side's TLS connection ("fc" or "bc"), one secret a line (3.2, tune.ssl.keylog)."""
    return "\n".join(f"{name} %[ssl_{side}_client_random,hex] %[ssl_{side}_{name.lower()}]" for name in _KEYLOG_SECRETS)


#: Usable and modifiable in the text, but gone when it has been read.
FORMAT_VARIABLES = {
    "HAPROXY_HTTP_LOG_FMT": HTTP_LOG_FORMAT,
    "HAPROXY_HTTP_CLF_LOG_FMT": HTTP_CLF_LOG_FORMAT,
    "HAPROXY_HTTPS_LOG_FMT": HTTPS_LOG_FORMAT,
    "HAPROXY_TCP_LOG_FMT": TCP_LOG_FORMAT,
    "HAPROXY_TCP_CLF_LOG_FMT": TCP_CLF_LOG_FORMAT,
    "HAPROXY_KEYLOG_FC_LOG_FMT": _keylog_format("fc"),
    "HAPROXY_KEYLOG_BC_LOG_FMT": _keylog_format("bc"),
}


def define_variables(environment: MutableMapping[str, str], version: str) -> None:
    """Set what a configuration may rely on before its first line is read.

    Args:
        environment: changed in place.
        version: the version that we are compatible with, `3.5.0` or `3.5-dev7`; its branch is the first two numbers.
    """
    numbers = version.split("-")[0].split(".")
    environment["HAPROXY_STARTUP_VERSION"] = version
    environment["HAPROXY_BRANCH"] = ".".join(numbers[:2])
    environment.update(FORMAT_VARIABLES)


def drop_format_variables(environment: MutableMapping[str, str]) -> None:
    """Remove the log formats again: they are not listed by `show env`."""
    for name in FORMAT_VARIABLES:
        environment.pop(name, None)
