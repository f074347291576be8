"""The keyword families. Importing this package fills `registry.KEYWORDS`: each family adds its rows when it is imported."""

from headgate.config.keywords import (  # noqa: F401
    balance,
    bind,
    check_rules,
    checks,
    cookie,
    crt_list,
    crt_store,
    error_pages,
    global_lint,
    global_process,
    global_tls,
    global_tuning,
    logs,
    mailers,
    ocsp,
    options,
    proxy_basics,
    redirects,
    removed_headers,
    resolvers,
    rules,
    sections_small,
    server,
    server_checks,
    source,
    statistics,
    stick,
    switching,
    timeouts,
    unix_bind,
)

# isort: split
from headgate.config.keywords import misplaced  # noqa: F401 - it looks through the rows of all others
