"""`make demo`: a demo CA, four small servers, headgate in front of them, and what to try. Ctrl-C ends it all.

    python examples/demo.py [--https-port N] [--passthrough-port N] [--first-server-port N] [--seconds N]

Everything it writes goes to demo-run/ beside the current directory.
"""

from __future__ import annotations

import argparse
import http.server
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

from headgate.tls.authority import issue, make_authority

HERE = pathlib.Path(__file__).resolve().parent
DIRECTORY = pathlib.Path("demo-run").resolve()
SERVERS = ("one", "two", "spare", "vault")  # in order of their ports

TRY = """
headgate is running with {config}

  https://shop.demo.example:{https}   https://blog.demo.example:{https}   TLS terminated, certificate by name
  https://vault.demo.example:{passthrough}                                    TLS passed through

Try, in another terminal:

  # TLS terminated; again, and the other server answers
  curl --cacert {directory}/ca.pem --resolve shop.demo.example:{https}:127.0.0.1 https://shop.demo.example:{https}/

  # denied: this path wants a client certificate
  curl --cacert {directory}/ca.pem --resolve shop.demo.example:{https}:127.0.0.1 https://shop.demo.example:{https}/admin/

  # the same with one
  curl --cacert {directory}/ca.pem --cert {directory}/client.pem --resolve blog.demo.example:{https}:127.0.0.1 https://blog.demo.example:{https}/admin/

  # TLS passed through: the certificate is the server's own (see "subject")
  curl -v --cacert {directory}/ca.pem --resolve vault.demo.example:{passthrough}:127.0.0.1 https://vault.demo.example:{passthrough}/

The access log follows. Ctrl-C stops everything.
"""


class _Answer(http.server.BaseHTTPRequestHandler):
    """Says who answers and what it was told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: str = self.server.demo_name  # type: ignore[attr-defined]
        told = [f"  {name}: {value}" for name, value in self.headers.items() if name.lower().startswith("x-forwarded")]
        body = "\n".join([f"server {server} answers {self.path}", *told, ""]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the access log is headgate's to show."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a connection that ends early, as that of a health check, is no news."""


def _make_certificates(directory: pathlib.Path) -> None:
    directory.mkdir(exist_ok=True)
    authority = make_authority("headgate demo CA")
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    leaves = {name: issue(authority, [f"{name}.demo.example"]) for name in ("shop", "blog", "vault")}
    leaves["client"] = issue(authority, ["demo client"], client=True)
    for name, leaf in leaves.items():
        path = directory / f"{name}.pem"
        path.touch(0o600)  # it holds a private key
        path.write_bytes(leaf.pem)


def _start_server(name: str, port: int, tls: ssl.SSLContext | None) -> None:
    server = _Server(("127.0.0.1", port), _Answer)
    server.demo_name = name  # type: ignore[attr-defined]
    if tls is not None:
        # The handshake happens in the connection's own thread, so that a silent client holds up nobody.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, name=name, daemon=True).start()


def _in_use(ports: dict[str, int]) -> list[str]:
    taken = []
    for what, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"port {port} ({what}) is in use")
    return taken


def _await_listener(headgate: subprocess.Popen[bytes], port: int) -> bool:
    """Whether headgate listens at last, or ended before. /proc is asked: connecting would show in the access log."""
    wanted = f":{port:04X} 00000000:0000 0A"
    while headgate.poll() is None:
        if wanted in pathlib.Path("/proc/net/tcp").read_text():
            return True
        time.sleep(0.02)
    return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="headgate with demo servers; Ctrl-C stops it")
    parser.add_argument("--https-port", type=int, default=8443)
    parser.add_argument("--passthrough-port", type=int, default=9443)
    parser.add_argument("--first-server-port", type=int, default=8001, help="the four servers take this and the three after it")
    parser.add_argument("--seconds", type=float, default=None, help="stop by itself after so long")
    return parser.parse_args()


def _environment(ports: dict[str, int]) -> dict[str, str]:
    named = {f"DEMO_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    return {**os.environ, **named, "DEMO_DIR": str(DIRECTORY)}


def main() -> int:
    arguments = _arguments()
    ports = {"https": arguments.https_port, "passthrough": arguments.passthrough_port}
    ports |= {name: arguments.first_server_port + number for number, name in enumerate(SERVERS)}
    if taken := _in_use(ports):
        print("\n".join(taken), file=sys.stderr)
        print("Choose others: make demo DEMO_ARGS='--https-port 18443 --passthrough-port 19443 --first-server-port 18001'",
              file=sys.stderr)
        return 1
    _make_certificates(DIRECTORY)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(DIRECTORY / "vault.pem")
    for name in SERVERS:
        _start_server(name, ports[name], tls if name == "vault" else None)

    config = HERE / "demo.cfg"
    command = [str(pathlib.Path(sys.executable).with_name("headgate")), "-db", "-f", str(config)]
    # A session of its own: Ctrl-C comes to us alone, and we tell headgate to stop.
    headgate = subprocess.Popen(command, env=_environment(ports), start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if not _await_listener(headgate, ports["passthrough"]):
            return headgate.returncode
        print(TRY.format(config=config, directory=DIRECTORY, https=ports["https"], passthrough=ports["passthrough"]), flush=True)
        return headgate.wait(arguments.seconds)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        print("\nstopping")
        headgate.terminate()
        headgate.wait(10)
        return 0
    finally:
        if headgate.poll() is None:
            headgate.kill()


if __name__ == "__main__":
    sys.exit(main())
