"""What each column of `show stat` and each field of `show info` means: for `show stat typed desc` and `show info desc`."""

from __future__ import annotations

_STAT = """
pxname Name of the proxy
svname FRONTEND, BACKEND, or name of the server or listening socket
qcur Requests that wait in the queue now
qmax Most requests that waited in the queue
scur Sessions now
smax Most sessions at a time
slim Limit of sessions (maxconn, or fullconn of a backend)
stot Sessions since the start
bin Bytes received from clients since the start
bout Bytes sent to clients since the start
dreq Requests denied by rules
dresp Responses denied by rules
ereq Requests that were invalid, or ended before they were whole
econ Requests for which no connection to a server could be made
eresp Responses that were invalid, or ended before they were whole
wretr Retries of connections to servers
wredis Retries that went to another server
status State of the object
weight Effective weight
act Active servers that are up; for a server whether it is an active one
bck Backup servers that are up; for a server whether it is a backup
chkfail Checks that failed while the server was up
chkdown Changes from UP to DOWN
lastchg Seconds since the last change between UP and DOWN
downtime Seconds spent DOWN in all
qlimit Limit of the server's queue (maxqueue)
pid Relative process number
iid Identifier of the proxy
sid Identifier of the server or listening socket in its proxy
throttle Percentage of its weight that a server has in slowstart
lbtot Requests for which load balancing chose the server
tracked Server whose checks this one follows
type Kind of object: 0 frontend, 1 backend, 2 server, 3 listening socket
rate New sessions in the last second
rate_lim Limit of new sessions a second (rate-limit sessions)
rate_max Most new sessions in a second
check_status Result of the last health check
check_code Status code of the last health check
check_duration Duration of the last health check in milliseconds
hrsp_1xx Responses with a status from 100 to 199
hrsp_2xx Responses with a status from 200 to 299
hrsp_3xx Responses with a status from 300 to 399
hrsp_4xx Responses with a status from 400 to 499
hrsp_5xx Responses with a status from 500 to 599
hrsp_other Responses with another status, and requests without a response
hanafail Failures seen in traffic
req_rate HTTP requests in the last second
req_rate_max Most HTTP requests in a second
req_tot HTTP requests since the start
cli_abrt Transfers that the client ended early
srv_abrt Transfers that the server ended early
comp_in Bytes given to the compressor
comp_out Bytes made by the compressor
comp_byp Bytes that were not compressed for lack of resources
comp_rsp Responses that were compressed
lastsess Seconds since the last session, -1 when there was none
last_chk What the last health check found
last_agt What the last agent check found
qtime Average time in the queue in milliseconds
ctime Average time to connect in milliseconds
rtime Average time to the response in milliseconds
ttime Average time of a session in milliseconds
agent_status Result of the last agent check
agent_code Code of the last agent check
agent_duration Duration of the last agent check in milliseconds
check_desc The health check's result in words
agent_desc The agent check's result in words
check_rise Successful checks that bring the server up (rise)
check_fall Failed checks that take the server down (fall)
check_health Health from 0 to rise + fall - 1
agent_rise Rise of the agent check
agent_fall Fall of the agent check
agent_health Health by the agent check
addr Address and port
cookie Cookie value of the server, cookie name of the backend
mode Mode of the proxy
algo Load balancing algorithm
conn_rate New connections in the last second
conn_rate_max Most new connections in a second
conn_tot Connections since the start
intercepted Requests that were answered here
dcon Connections denied by tcp-request connection
dses Sessions denied by tcp-request session
wrew Header rewrites that failed
connect Attempts to connect to servers
reuse Server connections that were used again
cache_lookups Look-ups in the cache
cache_hits Look-ups in the cache that found something
srv_icur Idle connections to the server
src_ilim Limit of idle connections to the server
qtime_max Longest time in the queue in milliseconds
ctime_max Longest time to connect in milliseconds
rtime_max Longest time to a response in milliseconds
ttime_max Longest session in milliseconds
eint Internal errors
idle_conn_cur Idle connections that were used once
safe_conn_cur Idle connections that were used more than once
used_conn_cur Server connections in use
need_conn_est Server connections that are needed, estimated
uweight Weight as set by the user
agg_server_status Reserved for sums over servers
agg_server_check_status Reserved for sums over servers
agg_check_status Reserved for sums over servers
srid Revision of the server's identifier
sess_other Sessions of other protocols than HTTP
h1sess HTTP/1 sessions
h2sess HTTP/2 sessions
h3sess HTTP/3 sessions
req_other Requests of other protocols than HTTP
h1req HTTP/1 requests
h2req HTTP/2 requests
h3req HTTP/3 requests
proto Protocol of the listening socket
priv_idle_cur Idle connections that belong to one client
reqbin Bytes of requests received
reqbout Bytes of requests sent
resbin Bytes of responses received
resbout Bytes of responses sent
cache_hint_hits Cache hits with early hints
ssl_sess TLS handshakes with a new key
ssl_reused_sess TLS handshakes that resumed a session
ssl_failed_handshake TLS handshakes that failed
"""

_INFO = """
Name Product
Version Version
Release_date Date of the version
Nbthread Workers (nbthread)
Nbproc Always 1
Process_num Always 1
Pid Process to send signals to
Uptime Time since the start
Uptime_sec Time since the start in seconds
Memmax_MB Limit of memory in MB, 0 for none
PoolAlloc_MB Memory of all processes in MB
PoolUsed_MB Memory in use in MB
PoolFailed Allocations that failed
Ulimit-n Limit of file descriptors
Maxsock Limit of sockets
Maxconn Limit of connections
Hard_maxconn Limit of connections at the start
CurrConns Connections now
CumConns Connections since the start
CumReq Requests since the start
MaxSslConns Limit of TLS connections, 0 for none
CurrSslConns TLS connections now, of clients and to servers
CumSslConns TLS connections since the start
Maxpipes Limit of pipes, 0 for none
PipesUsed Pipes in use
PipesFree Pipes that wait
ConnRate Connections in the last second
ConnRateLimit Limit of ConnRate
MaxConnRate Most connections in a second
SessRate Sessions in the last second
SessRateLimit Limit of SessRate
MaxSessRate Most sessions in a second
SslRate TLS connections in the last second
SslRateLimit Limit of SslRate
MaxSslRate Most TLS connections in a second
SslFrontendKeyRate Full handshakes with clients in the last second
SslFrontendMaxKeyRate Most full handshakes with clients in a second
SslFrontendSessionReuse_pct Percentage of handshakes with clients that resumed a session
SslBackendKeyRate Full handshakes with servers in the last second
SslBackendMaxKeyRate Most full handshakes with servers in a second
SslCacheLookups Look-ups of TLS sessions by their identifier
SslCacheMisses Look-ups of TLS sessions that found nothing
CompressBpsIn Bytes given to the compressor in the last second
CompressBpsOut Bytes made by the compressor in the last second
CompressBpsRateLim Limit of CompressBpsOut
Tasks Streams and checks
Run_queue Tasks that could run now
Idle_pct Percentage of the last second that was spent waiting
node Name of the node
description Description of the instance
Stopping 1 while a soft stop is on
Jobs Connections and listening sockets
Unstoppable Jobs Jobs that don't keep a stopping process alive
Listeners Listening sockets
ActivePeers Peers that are synchronised
ConnectedPeers Peers that are connected
DroppedLogs Log lines that were lost
BusyPolling 1 when polling never waits
FailedResolutions DNS resolutions that failed
TotalBytesOut Bytes sent to clients since the start
TotalSplicdedBytesOut Bytes that the kernel passed on since the start
BytesOutRate Bytes sent to clients in the last second
DebugCommandsIssued Debugging commands that were given
CumRecvLogs Log lines received
Build info Version
Memmax_bytes Limit of memory in bytes, 0 for none
PoolAlloc_bytes Memory of the process in bytes
PoolUsed_bytes Memory in use in bytes
Start_time_sec Time of the start in seconds since 1970
Tainted What makes the process unfit for bug reports
"""


def _read(text: str) -> dict[str, str]:
    for name in ("Unstoppable Jobs", "Build info"):
        text = text.replace(f"\n{name} ", f"\n{name.replace(' ', '~')} ")
    pairs = [line.partition(" ") for line in text.split("\n") if line]
    return {name.replace("~", " "): meaning for name, _, meaning in pairs}


#: By column.
STAT = _read(_STAT)
#: By field.
INFO = _read(_INFO)
