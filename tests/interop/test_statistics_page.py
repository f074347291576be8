"""The statistics page and the metrics over the network: the same as HAProxy's where they are the same, and live in a browser."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import secrets
import socket
import subprocess
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.interop.backends import Backend, LogReceiver, Message, answer, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import free_port, wait_until

MakeBackend = Callable[..., Backend]

CONFIG = """
global
    stats socket {directory}/stats.sock level admin
frontend web
    bind 127.0.0.1:{port}
    log 127.0.0.1:{logs} local0
    option httplog
    http-request use-service prometheus-exporter if { path /metrics }
    stats uri /stats
    stats refresh 7s
    stats show-legends
    stats admin if { src 127.0.0.1 }
    default_backend app
backend app
    server s1 127.0.0.1:{server}
    server s2 127.0.0.1:{server} backup
    server s3 127.0.0.1:{server} disabled
listen protected
    bind 127.0.0.1:{other}
    log 127.0.0.1:{logs} local0
    option httplog
    stats uri /
    stats auth alice:secret
    stats scope app
"""


class Site:
    """The configuration above, running."""

    def __init__(self, start: StartProxy, make: MakeBackend, logs: LogReceiver, directory: pathlib.Path, more: str = "") -> None:
        self.other = free_port()
        self.directory = directory
        text = CONFIG + more
        server = make(answer(response(b"hello")))
        for name, value in (("directory", directory), ("logs", logs.port), ("server", server.port), ("other", self.other)):
            text = text.replace("{" + name + "}", str(value))
        self.proxy: Proxy = start(text, extra_ports=(self.other,))

    def ask(self, target: str, *, method: str = "GET", fields: str = "", body: str = "", port: int | None = None) -> Message:
        wire = self.proxy.connect(port)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        host = f"127.0.0.1:{port or self.proxy.port}"
        wire.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n{body}".encode())
        return read_response(wire, method)

    def status_of(self, server: str) -> str:
        lines = self.ask("/stats;csv").body.decode().splitlines()
        names = lines[0][2:].split(",")
        row = next(line for line in lines if line.startswith(f"app,{server},"))
        return dict(zip(names, row.split(","), strict=False))["status"]


@pytest.fixture
def site(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, tmp_path: pathlib.Path) -> Site:
    return Site(proxy, backend, logs, tmp_path)


def test_exports(site: Site, logs: LogReceiver, subject: str) -> None:
    csv = site.ask("/stats;csv")
    assert csv.status == 200 and csv.one("content-type") is not None and csv.one("refresh") == "7"
    lines = csv.body.decode().splitlines()
    assert lines[0].startswith("# pxname,svname,qcur") and [line.split(",")[1] for line in lines[1:6]] == [
        "FRONTEND", "s1", "s2", "s3", "BACKEND",
    ]  # fmt: skip
    assert re.search(r"web/<STATS> 0/0/0/0/\d+ 200 \d+ - - LR-- ", logs.line("/stats;csv"))
    rows = json.loads(site.ask("/stats;json").body)
    assert len(rows) == len([line for line in lines if line]) - 1
    assert site.ask("/stats;csv;norefresh").one("refresh") is None
    assert b"F.2.0.0.pxname" in site.ask("/stats;typed").body
    html = site.ask("/stats")
    assert (html.one("content-type") or "").startswith("text/html") and b"s3" in html.body
    assert b"s3" not in site.ask("/stats;up;csv").body or subject == "haproxy"


def test_access_and_scope(site: Site, logs: LogReceiver, subject: str) -> None:
    refused = site.ask("/", port=site.other)
    assert refused.status == 401 and refused.one("www-authenticate") == 'Basic realm="HAProxy Statistics"'
    assert "protected/<STATS>" in logs.line('"GET / ') and " LR-- " in logs.line('"GET / ')
    credentials = base64.b64encode(b"alice:secret").decode()
    body = site.ask("/;csv", port=site.other, fields=f"Authorization: Basic {credentials}\r\n").body.decode()
    assert {line.split(",")[0] for line in body.splitlines()[1:] if line} == {"app"}
    assert f"127.0.0.1:{site.proxy.port}" not in body


@pytest.mark.parametrize(("form", "code", "status"), [
    ("s=s1&action=drain&b=%23{id}", "DONE", "DRAIN"),
    ("s=s1&action=maint&b=app", "DONE", "MAINT"),
    ("s=s1&action=boom&b=app", "ERRP", "no check"),
    ("s=s1&action=maint&b=nowhere", "ERRP", "no check"),
])
def test_the_form(site: Site, subject: str, form: str, code: str, status: str) -> None:
    found = re.search(r"app,BACKEND(?:,[^,]*){25},(\d+),", site.ask("/stats;csv").body.decode())
    assert found is not None
    answered = site.ask("/stats;norefresh", method="POST", body=form.replace("{id}", found[1]))
    assert (answered.status, answered.one("location")) == (303, f"/stats;st={code};norefresh")
    assert site.status_of("s1") == status


def test_other_sites_can_change_nothing(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, tmp_path: pathlib.Path
) -> None:
    site = Site(proxy, backend, logs, tmp_path)
    body = "s=s1&action=maint&b=app"
    for fields in ("Origin: http://evil.example\r\n", "Referer: http://evil.example/\r\n", "Sec-Fetch-Site: cross-site\r\n"):
        assert site.ask("/stats", method="POST", body=body, fields=fields).one("location") == "/stats;st=DENY"
    assert site.status_of("s1") == "no check"
    ours = f"Origin: http://127.0.0.1:{site.proxy.port}\r\n"
    assert site.ask("/stats", method="POST", body=body, fields=ours).one("location") == "/stats;st=DONE"


#: What HAProxy 2.6 has a metric for and we can't say: NaN there too, or another unit of work.
_NOT_OURS = {
    "haproxy_process_current_zlib_memory", "haproxy_process_max_zlib_memory", "haproxy_server_limit_sessions",
    "haproxy_server_queue_limit", "haproxy_server_current_throttle", "haproxy_server_idle_connections_limit",
    "haproxy_server_check_failures", "haproxy_server_check_up_down", "haproxy_server_downtime_seconds",
}  # fmt: skip


def test_metrics(site: Site, logs: LogReceiver, subject: str) -> None:
    answered = site.ask("/metrics")
    assert answered.status == 200 and (answered.one("content-type") or "").startswith("text/plain; version=0.0.4")
    found = {family.name: family for family in text_string_to_metric_families(answered.body.decode())}
    assert re.search(r"web/<PROMEX> 0/0/0/0/\d+ 200 \d+ - - LR-- ", logs.line("/metrics"))
    assert found["haproxy_server_status"].type == "gauge" and found["haproxy_frontend_http_requests"].type == "counter"
    samples = found["haproxy_server_status"].samples
    states = {(sample.labels["server"], sample.labels["state"]) for sample in samples if sample.value == 1}
    assert states == {("s1", "UP"), ("s2", "UP"), ("s3", "MAINT")}
    assert site.ask("/metrics?scope=moon").status == 400
    assert b"haproxy_process" not in site.ask("/metrics?scope=server").body
    assert b's3"' not in site.ask("/metrics?scope=server&no-maint").body
    assert site.ask("/metrics", method="HEAD").status == 200


@pytest.mark.needs("haproxy")
def test_the_metrics_are_those_of_haproxy(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, tmp_path: pathlib.Path
) -> None:
    kinds = []
    for subject in ("headgate", "haproxy"):
        def start(config: str, subject: str = subject, **options: object) -> Proxy:
            return proxy(config, subject=subject, **options)

        directory = tmp_path / subject
        directory.mkdir()
        text = Site(start, backend, logs, directory).ask("/metrics").body.decode()
        kinds.append(dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)))
    ours, theirs = kinds
    missing = {name: kind for name, kind in theirs.items() if ours.get(name) != kind}
    assert {name.removesuffix("_total") for name in missing} <= _NOT_OURS, missing


def test_with_several_workers_the_page_shows_the_sums(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver,
                                                      tmp_path: pathlib.Path) -> None:
    site = Site(proxy, backend, logs, tmp_path, "global\n    nbthread 3\n")

    def total() -> int:
        lines = site.ask("/stats;csv").body.decode().splitlines()
        names = lines[0][2:].split(",")
        return int(dict(zip(names, lines[1].split(","), strict=False))["req_tot"])

    for _ in range(12):
        assert site.ask("/").status == 200
    wait_until(lambda: total() >= 12, "all requests are counted")
    assert site.ask("/stats", method="POST", body="s=s1&action=maint&b=app").one("location") == "/stats;st=DONE"
    assert site.status_of("s1") == "MAINT"


# --- in a browser ----------------------------------------------------------------------------------------------------


def chromium(directory: pathlib.Path, url: str, *arguments: str) -> str:
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile", *arguments, url],
        capture_output=True, text=True, timeout=30, check=False,
    )
    return done.stdout


@pytest.mark.needs("chromium")
def test_the_page_in_a_browser(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, tmp_path: pathlib.Path) -> None:
    site = Site(proxy, backend, logs, tmp_path)
    dom = chromium(tmp_path, f"http://127.0.0.1:{site.proxy.port}/stats", "--timeout=2500", "--dump-dom")
    for server in ("s1", "s2", "s3"):
        assert re.search(rf'<tr class="server \w+" data-key="app/{server}/', dom), server
    assert dom.count("<button type=\"button\">") > 30, "the script ran: heads became buttons"
    assert '<label id="filterbox">' in dom or '<label id="filterbox" class' in dom


@pytest.mark.needs("chromium")
def test_the_page_follows_what_happens(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, tmp_path: pathlib.Path
) -> None:
    site = Site(proxy, backend, logs, tmp_path)
    port = free_port()
    browser = subprocess.Popen(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         f"--remote-debugging-port={port}", "--remote-allow-origins=*", f"http://127.0.0.1:{site.proxy.port}/stats"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _has_page(port), "the browser shows the page")
        page = Tab(port)
        wait_until(lambda: page.value("document.body.dataset.events") not in (None, "0"), "events arrive")
        assert page.value("document.querySelector('#live').textContent") == "live"
        site.ask("/stats", method="POST", body="s=s1&action=maint&b=app")
        s1 = "document.querySelector('tr[data-key^=\"app/s1/\"]')"
        status = f"{s1}.className + ' ' + {s1}.querySelector('.st').textContent"
        wait_until(lambda: page.value(status) == "server maint MAINT", "the row shows maintenance")
        page.value("document.querySelector('#filter').value = 's2'")
        page.value("document.querySelector('#filter').dispatchEvent(new Event('input'))")
        assert page.value(f"{s1}.hidden") is True
        head = "document.querySelector('section:nth-of-type(2) th[data-at=\"1\"]')"
        page.value(f"{head}.querySelector('button').click()")
        assert page.value(f"{head}.getAttribute('aria-sort')") == "ascending"
        page.value(f"{s1}.querySelector('a.row').click()")
        wait_until(lambda: page.value("document.querySelector('dialog').open"), "the details open")
        assert "svname" in str(page.value("document.querySelector('#into').textContent"))
        page.close()
    finally:
        browser.kill()
        browser.wait()


def _has_page(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=2) as found:
            return any(one["type"] == "page" and "/stats" in one["url"] for one in json.load(found))
    except OSError:
        return False


class Tab:
    """A page in a browser, asked over its debugging protocol (a WebSocket, of which this much is enough)."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as found:
            url = next(one["webSocketDebuggerUrl"] for one in json.load(found) if one["type"] == "page")
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        path = "/" + url.split("/", 3)[3]
        self._socket.sendall((
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode())
        self._file = self._socket.makefile("rb")
        while self._file.readline() not in (b"\r\n", b""):
            pass
        self._number = 0

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def value(self, expression: str) -> object:
        """What a JavaScript expression yields."""
        self._number += 1
        parameters = {"expression": expression, "returnByValue": True}
        data = json.dumps({"id": self._number, "method": "Runtime.evaluate", "params": parameters}).encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self._socket.sendall(b"\x81" + size + b"\0\0\0\0" + data)
        while True:
            answered = json.loads(self._frame())
            if answered.get("id") == self._number:
                return answered["result"]["result"].get("value")

    def _frame(self) -> bytes:
        length = self._file.read(2)[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
        return self._file.read(length)
