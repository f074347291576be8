"""Two machines, one address: two network namespaces with headgate and keepalived in each, and a client in a third one.

Written by `headgate failover-config`, carried out by keepalived. Nothing leaves the namespaces that the test makes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.interop.programs import DEADLINE, wait_until

ADDRESS = "10.83.0.10"
MACHINES = {"a": "10.83.0.1", "b": "10.83.0.2"}
CLIENT = "10.83.0.9"

pytestmark = [
    pytest.mark.needs("ip", "keepalived"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

#: A new connection every 20 ms; a line for each: time, and who answered or why nobody did.
ASK = f"""
import json, socket, time
while True:
    began = time.monotonic()
    try:
        with socket.create_connection(("{ADDRESS}", 80), 0.5) as asked:
            asked.settimeout(0.5)
            asked.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = b""
            while data := asked.recv(4096):
                answer += data
        said = answer.rpartition(b"\\n")[2].decode() or "empty"
    except OSError as error:
        said = type(error).__name__
    print(json.dumps([began, said]), flush=True)
    time.sleep(max(0.0, began + 0.02 - time.monotonic()))
"""


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=DEADLINE)


class Machine:
    """A network namespace on the common bridge."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.namespace = f"{network.name}{name}"
        self.address = address
        _run("ip", "netns", "add", self.namespace)
        network.stack.callback(_run, "ip", "netns", "del", self.namespace)
        _run("ip", "link", "add", "eth0", "netns", self.namespace, "type", "veth", "peer", "name", name, "netns", network.switch)
        _run("ip", "-n", network.switch, "link", "set", "dev", name, "master", "switch", "up")
        _run("ip", "-n", self.namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A program on this machine; what it says on stderr shows when the test fails."""
        started = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.network.stack.callback(self.kill, started)
        return started

    def kill(self, started: subprocess.Popen[str]) -> None:
        """All of it at once, as a machine dies."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        if started.stdout is not None:
            started.stdout.close()
        started.wait(DEADLINE)

    def has_address(self) -> bool:
        words = ("ip", "-n", self.namespace, "-json", "address")
        shown = subprocess.run(words, capture_output=True, timeout=DEADLINE, check=True)
        return any(one["local"] == ADDRESS for link in json.loads(shown.stdout) for one in link["addr_info"])

    def serve(self) -> subprocess.Popen[str]:
        """headgate, answering with the machine's name."""
        config = self.network.directory / f"{self.name}.cfg"
        config.write_text(
            f"global\n  stats socket {self.stats} mode 600\n"
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
            f"frontend web\n  bind {ADDRESS}:80 transparent\n"
            f'  http-request return status 200 content-type text/plain string "{self.name}"\n'
        )
        started = self.start(sys.executable, "-m", "headgate", "-f", str(config))
        wait_until(lambda: pathlib.Path(self.stats).exists(), f"headgate on {self.name} is up")
        return started

    @property
    def stats(self) -> str:
        return str(self.network.directory / f"{self.name}.sock")

    def keep_alive(self, priority: int) -> subprocess.Popen[str]:
        """keepalived, with what `headgate failover-config` writes."""
        directory = self.network.directory / f"keepalived-{self.name}"
        directory.mkdir()
        peers = [word for name, address in MACHINES.items() if name != self.name for word in ("--peer", address)]
        _run(
            "ip", "netns", "exec", self.namespace, sys.executable, "-m", "headgate", "failover-config",
            "-f", str(self.network.directory / f"{self.name}.cfg"), "--priority", str(priority), *peers,
            "--directory", str(directory),
        )
        _run("keepalived", "-t", "-f", str(directory / "keepalived.conf"))
        return self.start(
            "keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", "-f", str(directory / "keepalived.conf"),
            "-p", str(directory / "pid"), "-r", str(directory / "vrrp.pid"),
        )


class Network:
    """Two machines and a client on one bridge."""

    def __init__(self, stack: contextlib.ExitStack, directory: pathlib.Path) -> None:
        self.stack = stack
        self.directory = directory
        self.name = f"hg{os.getpid()}"
        self.switch = f"{self.name}s"
        _run("ip", "netns", "add", self.switch)
        stack.callback(_run, "ip", "netns", "del", self.switch)
        _run("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge")
        _run("ip", "-n", self.switch, "link", "set", "switch", "up")
        self.machines = [Machine(self, name, address) for name, address in MACHINES.items()]
        self.client = Machine(self, "c", CLIENT)


@pytest.fixture
def network() -> Iterator[Network]:
    # Not pytest's own directory: keepalived runs no script from below a directory that others may write to.
    directory = pathlib.Path(f"/run/headgate-test-{os.getpid()}")
    directory.mkdir(mode=0o700)
    try:
        with contextlib.ExitStack() as stack:
            try:
                made = Network(stack, directory)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr!r}")
            yield made
    finally:
        shutil.rmtree(directory)


class Asking:
    """The client's requests while something happens."""

    def __init__(self, network: Network) -> None:
        self._started = network.client.start(sys.executable, "-c", ASK)
        assert self._started.stdout is not None
        self._lines = self._started.stdout
        self.said: list[tuple[float, str]] = []

    def until(self, answer: str, count: int = 1) -> None:
        """Read until `count` answers in a row are this one."""
        end = time.monotonic() + DEADLINE
        row = 0
        while row < count:
            assert time.monotonic() < end, f"never answered {answer!r}: {self.said[-5:]}"
            began, said = json.loads(self._lines.readline())
            self.said.append((began, said))
            row = row + 1 if said == answer else 0


def _measured(asking: Asking, event: float, survivor: str) -> tuple[float, int]:
    """Seconds from the event to the survivor's first answer, and how many requests were lost in between."""
    first = next(began for began, said in asking.said if said == survivor and began > event)
    return first - event, sum(1 for began, said in asking.said if said not in MACHINES)


@pytest.mark.parametrize("dies", ["headgate", "machine"])
def test_the_address_moves(network: Network, dies: str, record_property: pytest.RecordProperty) -> None:
    first, second = network.machines
    proxies = [machine.serve() for machine in network.machines]
    first.keep_alive(150)
    wait_until(first.has_address, "the first machine has the address")
    second.keep_alive(100)
    asking = Asking(network)
    asking.until("a", 50)
    assert not second.has_address()
    event = time.monotonic()
    if dies == "headgate":
        first.kill(proxies[0])
    else:
        _run("ip", "-n", first.namespace, "link", "set", "eth0", "down")
    asking.until("b", 50)
    took, lost = _measured(asking, event, "b")
    print(f"{dies} died: the address moved in {took:.2f} s, {lost} requests (one each 20 ms) were lost")
    record_property("seconds", took)
    record_property("lost", lost)
    # Two checks a second apart, or three advertisements of 0.3 s, and what a busy machine adds.
    assert took < 8.0
    if dies == "headgate":
        # Who has the address keeps it: nothing is lost a second time when the first machine is back.
        first.serve()
        before = len(asking.said)
        asking.until("b", 100)
        assert {said for _, said in asking.said[before:]} == {"b"}
