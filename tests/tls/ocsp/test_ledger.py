from __future__ import annotations

from headgate.tls.authority import make_authority
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.attempts import Attempt, summed_up
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.ledger import Entry, Ledger, span_text
from headgate.tls.ocsp.log_lines import update_line
from headgate.tls.ocsp.response import check_response
from tests.tls.ocsp.ocsp_fixtures import NOW, make_leaf, make_response, subject_of

CA = make_authority("test CA")
LEAF = make_leaf(CA)


def entry() -> Entry:
    return Entry("digest", ["/site.pem"], subject=subject_of(CA, LEAF), updates=True)


def test_a_failure_is_told_with_cause_what_follows_and_advice() -> None:
    one = entry()
    one.put(check_response(make_response(CA, LEAF, ends=3 * 3600 + 600), one.subject, NOW))  # type: ignore[arg-type]
    ways = [Attempt("ocsp.example", way, failures.HTTP_STATUS, "503 from the responder") for way in ("IPv6", "IPv4") * 2]
    one.failed(summed_up(ways, 4))
    one.next_at = NOW + 58.5
    assert one.status_text(NOW) == (
        "HTTP error (503 from the responder over both IPv6 and IPv4, 4 tries; next in 58 s; the response on hand is good for 3 h"
        "; nothing to do here but wait: it is the CA's responder)"
    )
    assert update_line(one) == '<OCSP-UPDATE> /site.pem 2 "HTTP error" 1 0'
    one.succeeded(NOW)
    assert one.status_text(NOW) == "Update successful"
    assert update_line(one) == '<OCSP-UPDATE> /site.pem 1 "Update successful" 1 1'


def test_without_a_response_that_is_said() -> None:
    one = entry()
    one.failed(Failure(failures.DNS, "ocsp.example does not exist (NXDOMAIN)"))
    assert "no response is on hand: nothing is stapled" in one.explanation(NOW)
    one.put(check_response(make_response(CA, LEAF), one.subject, NOW))  # type: ignore[arg-type]
    assert "the response on hand has expired: nothing is stapled" in one.explanation(NOW + 7200)


def test_states() -> None:
    one = entry()
    assert (one.state(NOW), one.seconds_left(NOW), one.valid(NOW)) == ("missing", 0.0, None)
    one.put(check_response(make_response(CA, LEAF), one.subject, NOW))  # type: ignore[arg-type]
    assert (one.state(NOW), one.seconds_left(NOW)) == ("good", 3600.0)
    assert (one.staple.until, one.staple.der) == (NOW + 3600, one.valid(NOW).der)  # type: ignore[union-attr]
    assert (one.state(NOW + 3600), one.seconds_left(NOW + 3600)) == ("expired", 0.0)


def test_ledger() -> None:
    ledger, one = Ledger(), entry()
    ledger.add(one)
    assert ledger.find("digest") is ledger.of_key(one.key) is ledger.of_path("/site.pem") is one and len(ledger) == 1
    ledger.remove("digest")
    assert ledger.find("digest") is None and not list(ledger)


def test_attempts_are_summed_up_by_host_and_way() -> None:
    several = [
        Attempt("a.example", "IPv6", failures.CONNECT, "connection refused"),
        Attempt("a.example", "IPv4", failures.HTTP_STATUS, "503 from the responder", 30.0),
        Attempt("b.example", "", failures.DNS, "b.example does not exist (NXDOMAIN)"),
    ]
    failure = summed_up(several, 3)
    assert failure.text == (
        "a.example: connection refused over IPv6, 503 from the responder over IPv4; "
        "b.example: b.example does not exist (NXDOMAIN), 3 tries"
    )
    assert failure.cause is failures.HTTP_STATUS and failure.retry_after == 30.0


def test_spans() -> None:
    assert [span_text(one) for one in (-1, 0, 1.9, 60, 90, 119, 120, 3600, 7199, 7200, 86400 * 3)] == [
        "0 s", "0 s", "1 s", "1 min", "90 s", "119 s", "2 min", "1 h", "119 min", "2 h", "3 d",
    ]  # fmt: skip
