"""The TLS panel of the statistics page: what is stapled beside each certificate."""

from __future__ import annotations

from headgate.observe.page.process import tls_view

CERTIFICATES = [
    {"file": f"/{name}.pem", "names": [f"{name}.example"], "used_by": ["www"], "not_after": "2027-01-01", "days": 60}
    for name in "abcd"
]


def entry(file: str, state: str = "good", left: int = 0, error: str = "", text: str = "") -> dict[str, object]:
    return {"file": file, "state": state, "left": left, "error": error, "text": text}


def test_states_and_colours() -> None:
    ocsp = [
        entry("/a.pem", left=7200), entry("/b.pem", left=3600, error="dns", text="why & how"), entry("/c.pem", "expired"),
    ]
    view = tls_view({}, {"certificates": CERTIFICATES, "ocsp": ocsp})
    assert view is not None and view["stapled"]
    assert [(one["ocsp"], one["ocsp_look"], one["ocsp_text"]) for one in view["certificates"]] == [
        ("good, 2h left", "up", ""), ("good, 1h left", "falling", "why & how"), ("expired", "down", ""), ("", "", ""),
    ]  # fmt: skip
    assert view["summary"] == "4 certificates, 1 without a good OCSP response"


def test_without_ocsp_there_is_no_column() -> None:
    view = tls_view({}, {"certificates": CERTIFICATES})
    assert view is not None and not view["stapled"] and view["summary"] == "4 certificates"
