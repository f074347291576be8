"""A site whose certificates have OCSP responders, headgate in front of it, and clients that look at what is stapled."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp

from headgate.tls.authority import Authority, Issued, make_authority
from tests.interop.programs import DEADLINE, Program, ask_socket, free_port, headgate_command, wait_until
from tests.runtime.ocsp.responders import Asked, Behaviour, Responder, http
from tests.tls.ocsp.ocsp_fixtures import asking_client, asking_context, make_leaf, make_response


@dataclass(frozen=True)
class Update:
    """A line of `show ssl ocsp-updates`."""

    key: str
    path: str
    next: str
    last: str
    successes: int
    failures: int
    code: int
    text: str


class Site:
    """Certificates and what answers for them.

    Attributes:
        directory: of all files.
        authority: the CA.
        leaves: by the name of their file, without suffix.
    """

    def __init__(self, directory: pathlib.Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.authority: Authority = make_authority("OCSP test CA")
        self.leaves: dict[str, Issued] = {}
        self.port = free_port()
        self.socket = directory / "stats.sock"
        self.responses = directory / "responses"
        (directory / "ca.pem").write_bytes(self.authority.certificate_pem)
        self.certificates = directory / "certificates"
        self.certificates.mkdir()

    # --- certificates and responders ---

    def add(self, name: str, *uris: str, with_issuer: bool = True, **options: object) -> Issued:
        """A certificate for `name`.example, in a file of its own."""
        leaf = make_leaf(self.authority, *uris, names=[f"{name}.example"], **options)  # type: ignore[arg-type]
        self.leaves[name] = leaf
        above = self.authority.certificate_pem if with_issuer else b""
        (self.certificates / f"{name}.pem").write_bytes(leaf.pem + above)
        return leaf

    def path(self, name: str) -> str:
        return str(self.certificates / f"{name}.pem")

    def response(self, asked: Asked, **options: object) -> bytes:
        """A good response for whoever is asked about; `options` as for `make_response`."""
        leaf = next(one for one in self.leaves.values() if one.certificate.serial_number == asked.serial)
        return make_response(self.authority, leaf, now=time.time(), **options)  # type: ignore[arg-type]

    def good(self, asked: Asked, sock: socket.socket) -> None:
        """The behaviour of a responder that works."""
        sock.sendall(http(self.response(asked)))

    def answering(self, **options: object) -> Behaviour:
        """The behaviour of one whose responses are like this."""
        return lambda asked, sock: sock.sendall(http(self.response(asked, **options)))

    def responder(self, behave: Behaviour | None = None, host: str = "127.0.0.1", port: int = 0) -> Responder:
        made = Responder(behave or self.good, host, port)
        self.stack.callback(made.close)
        return made

    def openssl_responder(self, port: int, *arguments: str) -> Program:
        """`openssl ocsp -port`, which answers for all certificates of `index`."""
        key = self.authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / "ca.key").write_bytes(key)
        command = [
            "openssl", "ocsp", "-port", f"{port}", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem",
            "-rkey", "ca.key", "-ignore_err", *(arguments or ("-nmin", "10")),
        ]  # fmt: skip
        program = Program(command, self.directory, f"openssl-{port}")
        self.stack.callback(program.stop)
        program.await_ports([port])
        return program

    def index(self, revoked: Sequence[str] = ()) -> None:
        """The database of `openssl ca`."""
        lines = []
        for name, leaf in self.leaves.items():
            digits = f"{leaf.certificate.serial_number:X}"
            serial = digits if len(digits) % 2 == 0 else f"0{digits}"
            state, when = ("R", "261101000000Z,keyCompromise") if name in revoked else ("V", "")
            lines.append(f"{state}\t491231000000Z\t{when}\t{serial}\tunknown\t/CN={name}.example\n")
        (self.directory / "index.txt").write_text("".join(lines))

    # --- headgate ---

    def config(self, more: str = "", *, workers: int = 1, bind: str = "", delays: bool = True) -> str:
        """A configuration; `more` are lines of the global section."""
        short = "ocsp-update.mindelay 1\n    ocsp-update.maxdelay 2\n    httpclient.retries 1\n    httpclient.timeout.connect 1s"
        return f"""
global
    nbthread {workers}
    stats socket {self.socket} mode 600 level admin
    log stdout format raw local0
    ocsp-update.directory {self.responses}
    {short if delays else ""}
    {more}
defaults
    mode http
    timeout client 10s
frontend site
    bind 127.0.0.1:{self.port} ssl crt {self.certificates} {bind}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request return status 200
"""

    def start(
        self,
        more: str = "ocsp-update.mode on",
        *,
        name: str = "headgate",
        hosts: str | None = None,
        resolv: str | None = None,
        arguments: Sequence[str] = ("-db",),
        text: str | None = None,
        **options: object,
    ) -> Program:
        """headgate, listening. `hosts` and `resolv` are what it finds in /etc (needs root)."""
        path = self.directory / f"{name}.cfg"
        path.write_text(text or self.config(more, **options))  # type: ignore[arg-type]
        command = [headgate_command(), *arguments, "-f", str(path)]
        mounts = []
        for file, content in (("hosts", hosts), ("resolv.conf", resolv)):
            if content is not None:
                (self.directory / file).write_text(content)
                mounts.append(f"mount --bind {self.directory / file} /etc/{file}")
        if mounts:
            command = ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh", *command]
        program = Program(command, self.directory, name)
        self.stack.callback(program.stop)
        program.await_ports([self.port])
        return program

    def ask(self, command: str) -> str:
        return ask_socket(self.socket, command)

    def updates(self) -> dict[str, Update]:
        """`show ssl ocsp-updates` by the name of the file."""
        found = {}
        for line in self.ask("show ssl ocsp-updates").strip().splitlines()[1:]:
            cells = line.split(" | ", 7)
            update = Update(*cells[:4], *map(int, cells[4:7]), cells[7])  # type: ignore[arg-type]
            found[pathlib.Path(update.path).stem] = update
        return found

    def kept(self) -> pathlib.Path:
        """The file of the one response that is kept, once it is written."""
        wait_until(lambda: list(self.responses.glob("*.der")), "the response is kept")
        (file,) = self.responses.glob("*.der")
        return file

    # --- clients ---

    def staple(self, name: str = "a") -> bytes:
        """What a client that asks is given; b"" for nothing.

        Raises:
            SSL.Error: the handshake fails.
        """
        context, seen = asking_context()
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock:
            sock.settimeout(None)
            asking_client(context, sock, f"{name}.example").do_handshake()
        return seen[0] if seen else b""

    def await_staple(self, name: str = "a", seconds: float = DEADLINE) -> float:
        """Wait until a response is stapled; how long that took."""
        start = time.monotonic()
        wait_until(lambda: self.staple(name), f"{name} is stapled; updates: {self.updates()}", seconds)
        return time.monotonic() - start

    def s_client(self, name: str = "a") -> str:
        """What `openssl s_client -status` prints about it."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", f"{name}.example", "-status",
             "-CAfile", "ca.pem", "-verify_return_error"],
            capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=self.directory, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout

    def assert_good(self, name: str = "a") -> None:
        """Clients of both kinds see a good and current response, signed by the CA."""
        printed = self.s_client(name)
        assert "OCSP Response Status: successful" in printed and "Cert Status: good" in printed, printed
        der = self.staple(name)
        (self.directory / "seen.der").write_bytes(der)
        (self.directory / "leaf.pem").write_bytes(self.leaves[name].certificate_pem)
        done = subprocess.run(
            ["openssl", "ocsp", "-respin", "seen.der", "-issuer", "ca.pem", "-cert", "leaf.pem", "-CAfile", "ca.pem"],
            capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=self.directory,
        )
        assert "Response verify OK" in done.stderr and "leaf.pem: good" in done.stdout, done.stdout + done.stderr

    def metrics(self) -> dict[str, float]:
        """The samples whose names begin with headgate_ocsp."""
        command = ["curl", "-sk", f"https://127.0.0.1:{self.port}/metrics"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
        return {name: float(value) for name, value in re.findall(r"^(headgate_ocsp\S+) (\S+)$", done.stdout, re.MULTILINE)}


def never_expired(der: bytes) -> bool:
    """Whether a response that a client was given is in its time."""
    end = ocsp.load_der_ocsp_response(der).next_update_utc
    return end is not None and end.timestamp() > time.time() - 1


def can_mount() -> bool:
    """Whether a process may have files of its own in /etc."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"], capture_output=True, check=False, timeout=20
    )
    return done.returncode == 0

