"""OCSP stapling against `openssl ocsp` and against responders that fail in every way that they can: what clients get, when the
staple is back, and what log and commands say of it."""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from OpenSSL import SSL

from headgate.tls.authority import make_authority
from headgate.tls.ocsp.insertion import named_in, over_at
from tests.interop.name_server import NameServer as StreamedNameServer
from tests.interop.name_server import certified
from tests.interop.ocsp_site import Site, can_mount, never_expired
from tests.interop.programs import children, free_port, start_subject, wait_until
from tests.interop.test_tls_commands import say
from tests.runtime.ocsp.responders import Behaviour, black_hole, drips, http, is_silent, port_of_both, pours, redirects, sends
from tests.runtime.ocsp.test_names import NameServer
from tests.tls.ocsp.ocsp_fixtures import make_delegate, make_error, make_leaf, make_response

pytestmark = pytest.mark.needs("openssl", "curl")
needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs the right to mount files over /etc/hosts")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


STRANGER = make_authority("OCSP test CA")  # of the same name
OTHER = make_leaf(STRANGER)


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path, stack)


# --- the real responder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_real_responder(site: Site, workers: int) -> None:
    port = free_port()
    site.add("a", f"http://127.0.0.1:{port}")
    site.add("bad", f"http://127.0.0.1:{port}")
    site.index(revoked=["bad"])
    responder = site.openssl_responder(port)
    program = site.start(workers=workers, delays=False)
    for name in ("a", "bad"):
        site.await_staple(name)
    wait_until(lambda: all(site.staple("a") for _ in range(20)), "every worker staples")
    wait_until(lambda: len(list(site.responses.glob("*.der"))) == 2, "both are kept")
    site.assert_good()
    printed = site.s_client("bad")
    assert "Cert Status: revoked" in printed and "keyCompromise" in printed
    assert f"the certificate in '{site.path('bad')}' was revoked" in program.output
    assert f'<OCSP-UPDATE> {site.path("a")} 1 "Update successful" 0 1' in program.output
    # The commands of the manual.
    update = site.updates()["a"]
    assert (update.successes, update.failures, update.code, update.text) == (1, 0, 1, "Update successful")
    listed = site.ask("show ssl ocsp-response")
    assert f"  Certificate ID key : {update.key}\n  Certificate path : {site.path('a')}\n    Certificate ID:\n" in listed
    dumped = site.ask(f"show ssl ocsp-response base64 {update.key}")
    assert base64.b64decode(dumped) == site.staple("a")
    assert "Cert Status: good" in site.ask(f"show ssl ocsp-response {site.path('a')}")
    assert "does not match any certificate" in site.ask("show ssl ocsp-response nonsense")
    # A restart with all responders dead staples from disk, also with the first handshake.
    responder.stop()
    before = site.staple("a")
    program.stop()
    site.start(workers=workers, delays=False)
    assert site.staple("a") == before
    metrics = site.metrics()
    assert 0 < metrics[f'headgate_ocsp_staple_expiry_seconds{{file="{site.path("a")}"}}'] <= 600
    assert metrics[f'headgate_ocsp_state{{file="{site.path("bad")}",state="revoked"}}'] == 1


def test_updates_and_responses_by_command(site: Site) -> None:
    port = free_port()
    site.add("a", f"http://127.0.0.1:{port}")
    site.add("silent")
    site.index()
    responder = site.openssl_responder(port)
    site.start("ocsp-update.mode off", workers=2)
    assert site.staple("a") == b"" and site.updates() == {}
    answer = site.ask(f"update ssl ocsp-response {site.path('a')}")
    assert "Cert Status: good" in answer
    assert all(site.staple("a") for _ in range(10)), "with the answer every worker has it"
    responder.stop()
    answer = site.ask(f"update ssl ocsp-response {site.path('a')}")
    assert "HTTP error (connection refused over IPv4, 2 tries; the response on hand is good for 9 min" in answer
    assert "names no OCSP responder" in site.ask(f"update ssl ocsp-response {site.path('silent')}")
    assert "is not the file of a certificate" in site.ask("update ssl ocsp-response nonsense.pem")
    # One that an operator has fetched by other means.
    other = make_response(site.authority, site.leaves["silent"], now=time.time())
    encoded = base64.b64encode(other).decode()
    assert "OCSP Response updated!" in site.ask(f"set ssl ocsp-response {encoded}")
    assert all(site.staple("silent") == other for _ in range(10)), "with the answer every worker has it"
    lines = "\n".join(encoded[start : start + 64] for start in range(0, len(encoded), 64))
    assert "OCSP Response updated!" in site.ask(f"set ssl ocsp-response <<\n{lines}\n")
    for wrong, words in (
        ("%%%", "invalid base64"), ("AAAA", "Unable to parse OCSP response."),
        (base64.b64encode(make_response(site.authority, make_leaf(site.authority), now=time.time())).decode(), "does not match"),
        (base64.b64encode(make_response(site.authority, site.leaves["a"], now=time.time() - 7200)).decode(), "expired"),
    ):  # fmt: skip
        assert words in site.ask(f"set ssl ocsp-response {wrong}")


def test_a_response_beside_the_certificate(site: Site) -> None:
    for name, ends in (("a", 3600.0), ("old", -60.0)):
        leaf = site.add(name)
        response = make_response(site.authority, leaf, now=time.time(), begins=-7200, ends=ends)
        (site.certificates / f"{name}.pem.ocsp").write_bytes(response)
    program = site.start("ocsp-update.mode off")
    site.assert_good()
    assert site.staple("old") == b""
    assert "has expired" in program.output and "old.pem" in program.output


def test_certificates_that_are_exchanged_while_running(site: Site) -> None:
    """A new certificate has its response fetched, or brings one; one that is added to a list, too."""
    good = site.responder()
    site.add("a", good.uri)
    crt_list = site.directory / "list"
    crt_list.write_text(f"{site.path('a')}\n")
    text = site.config("ocsp-update.mode on", workers=2).replace(f"crt {site.certificates}", f"crt-list {crt_list}")
    site.start(text=text)
    wait_until(lambda: all(site.staple("a") for _ in range(10)), "every worker staples")
    before, old = site.staple(), site.leaves["a"]
    new = site.add("a", good.uri)
    site.leaves["old"] = old
    path = site.path("a")
    say(site.socket, f"set ssl cert {path}", new.pem + site.authority.certificate_pem)
    assert "Success" in say(site.socket, f"commit ssl cert {path}")

    def is_about_the_new_one() -> bool:
        der = site.staple("a")
        return bool(der) and named_in(der) == {new.certificate.serial_number}

    wait_until(lambda: all(is_about_the_new_one() for _ in range(10)), "every worker staples the response of the new one")
    assert site.staple() != before and len(site.updates()) == 1
    # A response in a transaction.
    good.close()
    other = make_response(site.authority, new, now=time.time(), begins=0)
    say(site.socket, f"set ssl cert {path}.ocsp", base64.b64encode(other))
    assert "Cert Status: good" in say(site.socket, f"show ssl cert *{path}.ocsp")
    say(site.socket, f"commit ssl cert {path}")
    wait_until(lambda: all(site.staple("a") == other for _ in range(10)), "every worker staples it")
    assert say(site.socket, f"show ssl cert {path}.ocsp") == say(site.socket, f"show ssl ocsp-response {path}")
    assert f"OCSP Response Key: {site.updates()['a'].key}" in say(site.socket, f"show ssl cert {path}")
    # One that is added.
    site.responder(port=good.port)
    fresh = site.add("b", good.uri)
    say(site.socket, f"new ssl cert {site.path('b')}")
    say(site.socket, f"set ssl cert {site.path('b')}", fresh.pem + site.authority.certificate_pem)
    assert "Success" in say(site.socket, f"commit ssl cert {site.path('b')}")
    assert "Success" in say(site.socket, f"add ssl crt-list {crt_list} {site.path('b')}")
    wait_until(lambda: all(site.staple("b") for _ in range(10)), "every worker staples the one that was added")
    site.assert_good("b")


def test_what_an_operator_sets_outlives_a_restart(site: Site) -> None:
    leaf = site.add("a")
    (site.certificates / "a.pem.ocsp").write_bytes(b"")
    program = site.start("ocsp-update.mode off")
    response = make_response(site.authority, leaf, now=time.time())
    assert "OCSP Response updated!" in site.ask(f"set ssl ocsp-response {base64.b64encode(response).decode()}")
    assert site.staple() == response
    program.stop()
    site.start("ocsp-update.mode off")
    assert site.staple() == response


def test_the_same_as_haproxy(site: Site, subject: str) -> None:
    """What needs no updates: a response beside the certificate, shown and replaced."""
    leaf = site.add("a")
    (site.certificates / "a.pem.ocsp").write_bytes(make_response(site.authority, leaf, now=time.time()))
    text = f"""
global
    stats socket {site.socket} mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend site
    bind 127.0.0.1:{site.port} ssl crt {site.path('a')}
"""
    program = start_subject(subject, text, site.directory, [site.port])
    site.stack.callback(program.stop)
    site.assert_good()
    listed = site.ask("show ssl ocsp-response")
    (key,) = re.findall(r"Certificate ID key : ([0-9a-f]+)$", listed, re.MULTILINE)
    (site.directory / "seen.der").write_bytes(site.staple())
    command = ["openssl", "ocsp", "-respin", "seen.der", "-noverify", "-text"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=site.directory).stdout
    assert site.ask(f"show ssl ocsp-response {key}").rstrip() == printed.replace("\n\n", "\n \n").rstrip()
    newer = make_response(site.authority, leaf, now=time.time(), begins=0)
    for words, answer in (
        (base64.b64encode(newer).decode(), "OCSP Response updated!"),
        ("", "'set ssl ocsp-response' expects response in base64 encoding."),
        ("%%", "'set ssl ocsp-response' received invalid base64 encoded response."),
        ("AAAA", "Unable to parse OCSP response."),
        (base64.b64encode(make_response(STRANGER, OTHER, now=time.time())).decode(), "Certificate ID does not match any"),
    ):
        assert answer in site.ask(f"set ssl ocsp-response {words}")
    assert site.staple() == newer
    assert "Certificate ID does not match any certificate." in site.ask("show ssl ocsp-response 30")


# --- failures --------------------------------------------------------------------------------------------------------

def failures(site: Site) -> dict[str, tuple[Behaviour, str]]:
    """Behaviours of a responder, and the words that commands have for them."""

    def with_delegate(age: float) -> Behaviour:
        return site.answering(signer=make_delegate(site.authority, age=age))

    def other(*_: object) -> bytes:
        return make_response(STRANGER, OTHER, now=time.time())

    return {
        "503": (sends(http(b"", "503 Service Unavailable")), "HTTP error (503 from the responder over IPv4"),
        "garbage": (sends(http(b"garbage")), "OCSP response check failure (what came is no OCSP response"),
        "html": (sends(http(b"<html>", kind="text/html")), 'Missing "ocsp-response" header (the answer is of type'),
        "other certificate": (sends(http(other())), "(the response is about another certificate"),
        "bad signature": (
            site.answering(signer=STRANGER, with_certificate=False), "(the signature of the response is wrong",
        ),
        "expired delegate": (with_delegate(60), "(the responder's certificate has expired at"),
        "tryLater": (sends(http(make_error(ocsp.OCSPResponseStatus.TRY_LATER))), "(the responder says tryLater"),
        "unauthorized": (sends(http(make_error(ocsp.OCSPResponseStatus.UNAUTHORIZED))), "(the responder says unauthorized"),
        "clock ahead": (site.answering(begins=3600, ends=7200), "(the response is not valid before"),
        "clock behind": (site.answering(begins=-7200, ends=-3600), "(the response has expired at"),
        "unknown": (site.answering(status=ocsp.OCSPCertStatus.UNKNOWN), "status is unknown"),
        "10 MB": (pours(10 << 20), "HTTP error (the answer is longer than 64 KB"),
        "redirect loop": (redirects("/x"), "HTTP error (the responder redirects"),
    }  # fmt: skip


_NAMES = (
    "503", "garbage", "html", "other certificate", "bad signature", "expired delegate", "tryLater", "unauthorized",
    "clock ahead", "clock behind", "unknown", "10 MB", "redirect loop",
)  # fmt: skip


def test_every_failure_is_survived_and_explained(site: Site) -> None:
    """One after the other, each for a certificate of its own: nothing wrong is stapled, the reason is told, all come back."""
    behaviours = failures(site)
    assert set(behaviours) == set(_NAMES)
    responders = {}
    for number, name in enumerate(_NAMES):
        responders[name] = site.responder(behaviours[name][0])
        site.add(f"f{number}", responders[name].uri)
    program = site.start()

    def told(number: int, name: str) -> bool:
        update = site.updates().get(f"f{number}")
        return update is not None and update.failures > 0 and behaviours[name][1] in update.text

    for number, name in enumerate(_NAMES):
        wait_until(lambda number=number, name=name: told(number, name), f"{name}: {site.updates().get(f'f{number}')}")  # type: ignore[misc]
        assert site.staple(f"f{number}") == b""
        assert f"OCSP update of '{site.path(f'f{number}')}' failed" in program.output
        update = site.updates()[f"f{number}"]
        assert "no response is on hand: nothing is stapled; " in update.text and update.next != "-"
    assert '503 0 - - ---- 0/0/0/0/1 0/0 {} "GET http://127.0.0.1:' in program.output, "the HTTP log line"
    errors = [key for key in site.metrics() if key.startswith("headgate_ocsp_update_failing")]
    assert len(errors) == len(_NAMES)
    for one in responders.values():
        one.behave = site.good
    for number in range(len(_NAMES)):
        site.await_staple(f"f{number}")
    site.assert_good("f4")
    wait_until(lambda: all(update.code == 1 for update in site.updates().values()), "all are well again")


@pytest.mark.parametrize("behave", [drips, is_silent])
def test_a_responder_that_takes_its_time_is_overtaken(site: Site, behave: Behaviour) -> None:
    responder = site.responder(behave)
    site.add("a", responder.uri)
    site.start()
    wait_until(lambda: responder.asked, "it is asked")
    assert site.staple() == b""
    responder.behave = site.good
    site.await_staple(seconds=8)


def test_responders_die_and_come_back(site: Site) -> None:
    """The response on hand is stapled as long as it is valid and never longer; then it is back soon after the responder."""
    responder = site.responder(site.answering(ends=4.0))
    site.add("a", responder.uri)
    program = site.start()
    site.await_staple()
    responder.close()
    wait_until(lambda: site.updates()["a"].failures, "an update fails")
    gone = time.monotonic() + 15
    while der := site.staple():
        assert never_expired(der) and time.monotonic() < gone
    assert "connection refused over IPv4, 2 tries" in site.updates()["a"].text
    wait_until(lambda: "the response on hand has expired: nothing is stapled" in site.updates()["a"].text, "that is told")
    assert site.metrics()[f'headgate_ocsp_staple_expiry_seconds{{file="{site.path("a")}"}}'] == 0
    site.responder(site.good, port=responder.port)
    site.await_staple()
    site.assert_good()
    assert "OCSP update of" in program.output


def test_a_dead_first_responder_and_a_good_second_one(site: Site) -> None:
    good = site.responder()
    with black_hole("127.0.0.1") as hole:
        site.add("a", f"http://127.0.0.1:{hole}", good.uri)
        start = time.monotonic()
        site.start(delays=False)
        site.await_staple()
        assert time.monotonic() - start < 8, "under load; half of that is the start of the program"


# --- IPv6 and IPv4 ---------------------------------------------------------------------------------------------------

HOSTS = "127.0.0.1 localhost\n127.0.0.1 ocsp.test\n::1 ocsp.test\n"


@needs_mounts
@pytest.mark.parametrize("prefer", ["ipv6", "ipv4"])
@pytest.mark.parametrize("bad", ["::1", "127.0.0.1"])
@pytest.mark.parametrize("how", ["drops", "refuses", "503"])
def test_one_family_is_enough(site: Site, how: str, bad: str, prefer: str) -> None:
    """Whatever is preferred, and whichever of the two does not work: a preference is no prison."""
    good = site.responder(host="127.0.0.1" if bad == "::1" else "::1", port=port_of_both())
    site.add("a", f"http://ocsp.test:{good.port}")
    with contextlib.ExitStack() as opened:
        if how == "drops":
            opened.enter_context(black_hole(bad, good.port))
        elif how == "503":
            site.responder(sends(http(b"", "503 Service Unavailable")), bad, good.port)
        start = time.monotonic()
        site.start(f"ocsp-update.mode on\n    httpclient.resolvers.prefer {prefer}", hosts=HOSTS, delays=False)
        begun = time.monotonic()
        site.await_staple()
        assert time.monotonic() - begun < 5, "from the start of serving"
        assert time.monotonic() - start < 10
    site.assert_good()


@needs_mounts
def test_both_families_fail_and_that_is_told(site: Site) -> None:
    unavailable = sends(http(b"", "503 Service Unavailable"))
    six = site.responder(unavailable, "::1", port_of_both())
    four = site.responder(unavailable, "127.0.0.1", six.port)
    site.add("a", f"http://ocsp.test:{six.port}")
    site.start("ocsp-update.mode on\n    httpclient.retries 3", hosts=HOSTS)
    words = "HTTP error (503 from the responder over both IPv6 and IPv4, 4 tries; next in"
    wait_until(lambda: words in site.updates()["a"].text, "both are named")
    four.behave = site.good
    site.await_staple()


@needs_mounts
def test_dead_name_servers_hold_up_nobody_else(site: Site) -> None:
    good = site.responder()
    site.add("a", good.uri)
    site.add("unknown", f"http://ocsp.test:{good.port}")
    program = site.start(resolv="nameserver 127.0.0.99\n", hosts="127.0.0.1 localhost\n")
    site.await_staple()
    wait_until(lambda: "HTTP error (ocsp.test cannot be resolved" in site.updates()["unknown"].text, "the name is the reason")
    assert site.staple("unknown") == b"" and "/etc/resolv.conf" in program.output
    (site.directory / "hosts").write_text(HOSTS)
    site.await_staple("unknown")


def test_name_servers_of_a_section(site: Site) -> None:
    good = site.responder()
    site.add("a", f"http://ocsp.test:{good.port}")
    server = NameServer(lambda name, kind: ["127.0.0.1"] if kind == "A" else [])
    site.stack.callback(server.close)
    text = site.config("ocsp-update.mode on\n    httpclient.resolvers.id mine\n    dns-accept-family ipv4,ipv6")
    site.start(text=f"{text}\nresolvers mine\n    nameserver ns 127.0.0.1:{server.port}\n")
    site.await_staple()
    assert ("ocsp.test.", "AAAA") in server.asked


@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_server_that_is_asked_over_tls(site: Site, tmp_path: pathlib.Path, workers: int) -> None:
    """With the options of its line, and behind a wall, where none of its files can be read any more."""
    good = site.responder()
    site.add("a", f"http://ocsp.test:{good.port}")
    server = site.stack.enter_context(contextlib.closing(StreamedNameServer(certified(tmp_path))))
    server.put("ocsp.test", "A", ["127.0.0.1"])
    jail = tmp_path / "jail"
    jail.mkdir()
    options = f"ssl ca-file {tmp_path}/ca.pem verifyhost dns.example ssl-min-ver TLSv1.3 maxconn 1"
    settings = f"ocsp-update.mode on\n    httpclient.resolvers.id mine\n    chroot {jail}\n    user nobody\n    group nogroup"
    text = f"{site.config(settings, workers=workers)}\nresolvers mine\n    nameserver ns tcp@127.0.0.1:{server.port} {options}\n"
    site.start(text=text)
    site.await_staple()
    assert server.connections == 1


# --- who takes part --------------------------------------------------------------------------------------------------


def test_a_mixed_list(site: Site) -> None:
    """Certificates without a responder, or without an issuer, are left out; the others are stapled."""
    good = site.responder()
    site.add("a", good.uri)
    site.add("none", crls=["http://crl.example/1.crl"])
    site.add("orphan", good.uri, with_issuer=False)
    program = site.start()
    site.await_staple()
    assert site.staple("none") == site.staple("orphan") == b""
    assert "nothing to staple" in program.output and "http://crl.example/1.crl" in program.output
    assert "issuer's certificate is not known" in program.output
    assert set(site.updates()) == {"a"}


def test_an_issuer_is_fetched_where_that_is_wanted(site: Site) -> None:
    good = site.responder()
    der = sends(http(site.authority.certificate.public_bytes(Encoding.DER), kind="application/pkix-cert"))
    issuers = site.responder(der)
    site.add("orphan", good.uri, with_issuer=False, issuers=[f"{issuers.uri}/ca.der"])
    settings = "ocsp-update.mode on\n    ocsp-update.fetch-issuer on"
    program = site.start(settings, workers=2)
    site.await_staple("orphan")
    assert issuers.asked[0].target == "/ca.der"
    site.assert_good("orphan")
    wait_until(lambda: len(list(site.responses.glob("*.der"))) == 2, "issuer and response are kept")
    good.close()
    issuers.close()
    program.stop()
    site.start(settings)
    assert site.staple("orphan"), "with all of them dead"


def test_lines_of_lists_decide_for_themselves(site: Site) -> None:
    good = site.responder()
    for name in ("on", "off"):
        site.add(name, good.uri)
    crt_list = site.directory / "list"
    crt_list.write_text(f"{site.path('on')} [ocsp-update on]\n{site.path('off')} [ocsp-update off]\n")
    text = site.config("ocsp-update.mode off").replace(f"crt {site.certificates}", f"crt-list {crt_list}")
    site.start(text=text)
    site.await_staple("on")
    assert site.staple("off") == b"" and set(site.updates()) == {"on"}


def test_proxy(site: Site) -> None:
    proxy = site.responder()
    site.add("a", "http://ocsp.invalid/path")
    site.start(f"ocsp-update.mode on\n    ocsp-update.httpproxy 127.0.0.1:{proxy.port}")
    site.await_staple()
    assert proxy.asked[0].target.startswith("http://ocsp.invalid/path/")


# --- must-staple -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_must_staple_has_a_response_with_the_first_handshake(site: Site, workers: int) -> None:
    def slow(asked: object, sock: object) -> None:
        time.sleep(0.7)
        site.good(asked, sock)  # type: ignore[arg-type]

    good = site.responder(slow)
    site.add("a", good.uri, must_staple=True)
    site.start("ocsp-update.mode on\n    ocsp-update.must-staple-wait 20s", workers=workers)
    assert site.staple()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("policy", ["serve", "refuse"])
def test_must_staple_without_a_response(site: Site, policy: str, workers: int) -> None:
    responder = site.responder(sends(http(b"", "503 Service Unavailable")))
    site.add("a", responder.uri, must_staple=True)
    site.add("other", responder.uri)
    settings = f"ocsp-update.mode on\n    ocsp-update.must-staple {policy}\n    ocsp-update.must-staple-wait 500ms"
    program = site.start(settings, workers=workers)
    program.await_output("demands a stapled OCSP response (must-staple), and there is none")
    assert "503 from the responder" in program.output
    metrics = site.metrics() if policy == "serve" else {}
    if policy == "serve":
        assert site.staple("a") == b""
        assert metrics[f'headgate_ocsp_must_staple_missing{{file="{site.path("a")}"}}'] == 1
    else:
        with pytest.raises(SSL.Error):
            site.staple("a")
    assert site.staple("other") == b""
    responder.behave = site.good

    def stapled() -> bytes:
        try:
            return site.staple("a")
        except SSL.Error:
            return b""

    wait_until(lambda: all(stapled() for _ in range(5)), "it is stapled")


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_worker_that_comes_later_staples_too(site: Site) -> None:
    good = site.responder()
    site.add("a", good.uri)
    program = site.start(workers=2, delays=False)
    wait_until(lambda: all(site.staple("a") for _ in range(10)), "every worker staples")
    good.close()
    site.kept().unlink()
    for pid in children(program.process.pid):
        os.kill(pid, signal.SIGKILL)
    program.await_output("was killed by signal 9")

    def all_staple() -> bool:
        try:
            return all(site.staple("a") for _ in range(20))
        except OSError:
            return False

    wait_until(all_staple, "all workers that were made since staple")


def test_a_reload_staples_at_once(site: Site) -> None:
    good = site.responder()
    site.add("a", good.uri)
    program = site.start(workers=2, delays=False, arguments=("-W",))
    program.await_output("Loading success")
    wait_until(lambda: all(site.staple("a") for _ in range(10)), "every worker staples")
    before = site.staple()
    good.close()
    site.kept()
    program.signal(signal.SIGUSR2)
    wait_until(lambda: program.output.count("Loading success") == 2, "the new generation serves")
    for _ in range(20):
        assert site.staple() == before


@needs_root
@needs_mounts
@pytest.mark.parametrize("workers", [1, 2])
def test_behind_a_wall_and_without_rights(site: Site, workers: int, tmp_path: pathlib.Path) -> None:
    """With `chroot` and `user` names are looked up, responses fetched and written, and read by the next start."""
    responder = site.responder(site.answering(ends=6.0))
    site.add("a", f"http://ocsp.test:{responder.port}")
    address = f"127.{os.getpid() % 250 + 1}.{workers}.53"  # of this process alone
    server = NameServer(lambda name, kind: ["127.0.0.1"] if kind == "A" else [], address, 53)
    site.stack.callback(server.close)
    files = {"hosts": "127.0.0.1 localhost\n", "resolv": f"nameserver {address}\n"}
    jail = tmp_path / "jail"
    jail.mkdir()
    settings = f"ocsp-update.mode on\n    chroot {jail}\n    user nobody\n    group nogroup"
    program = site.start(settings, workers=workers, **files)
    site.await_staple()
    first = site.staple()
    wait_until(lambda: site.staple() not in (b"", first), "it is renewed behind the wall")
    file = site.kept()
    assert file.owner() == "nobody" and not list(jail.iterdir())
    wait_until(lambda: file.read_bytes() == site.staple(), "what is stapled is what is kept")
    assert "BUG" not in program.output and "can't be written" not in program.output
    responder.behave = site.answering(ends=3600.0)
    wait_until(lambda: over_at(file.read_bytes()) > time.time() + 1000, "one that lasts is kept")
    responder.close()
    program.stop()
    site.start(settings, workers=workers, **files)
    assert site.staple() and server.asked


def test_a_directory_that_cannot_be_is_said_and_survived(site: Site) -> None:
    good = site.responder()
    site.add("a", good.uri)
    site.responses.write_text("a file")
    program = site.start()
    site.await_staple()
    assert "OCSP responses are not kept on disk" in program.output


def test_several_machines_share_a_directory(site: Site) -> None:
    """What one has fetched serves the others: they look into the directory before they ask, and believe nothing unchecked."""
    good = site.responder()
    site.add("a", good.uri)
    site.start()
    site.await_staple()
    good.close()
    file = site.kept()

    def put(der: bytes) -> None:
        """As another machine does it."""
        new = site.responses / ".new-0000000000000000"
        new.write_bytes(der)
        new.rename(file)

    before = site.staple()
    put(make_response(STRANGER, OTHER, now=time.time()))
    wait_until(lambda: site.updates()["a"].failures, "it has looked, and asked the responder, which is dead")
    assert site.staple() == before
    newer = make_response(site.authority, site.leaves["a"], now=time.time(), begins=0)
    put(newer)
    wait_until(lambda: site.staple() == newer, "what the other one has fetched is taken")


# --- a thousand ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_certificates_on_one_responder(site: Site) -> None:
    responder = site.responder()
    for number in range(1000):
        site.add(f"n{number}", responder.uri)
    start = time.monotonic()
    program = site.start("ocsp-update.mode on", delays=False, workers=2)
    wait_until(lambda: len(os.listdir(site.responses)) >= 1000, "all are fetched and kept", 120)
    print(f"1000 responses in {time.monotonic() - start:.1f} s, {responder.most} connections at a time")
    # Six updates at a time; on a machine under load one that takes long is asked a second time.
    assert responder.most <= 12 and 1000 <= len(responder.asked) <= 1100
    for number in range(0, 1000, 37):
        assert site.staple(f"n{number}")
    assert "BUG" not in program.output
    nexts = {update.next for update in site.updates().values()}
    assert len(nexts) > 300, "renewals are spread over minutes"

