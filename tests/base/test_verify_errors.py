"""Names and numbers of verification errors are those of the library that reports them."""

from headgate.base.verify_errors import VERIFY_ERRORS, verify_error_name, verify_error_number
from headgate.tls.openssl import ffi, lib


def test_the_bindings_numbers() -> None:
    known = {name: getattr(lib, name) for name in dir(lib) if name.startswith("X509_V_ERR_")}
    assert len(known) > 50
    assert {name: verify_error_number(name) for name in known} == known
    assert {name: verify_error_name(number) for name, number in known.items()} == {name: name for name in known}


def test_every_number_that_the_library_explains_has_a_name() -> None:
    def text(number: int) -> str:
        return str(ffi.string(lib.X509_verify_cert_error_string(number)))

    explained = {number for number in range(1000) if text(number) != text(999)}
    assert len(explained) > 90
    assert explained <= VERIFY_ERRORS.keys()


def test_shapes_of_names() -> None:
    assert verify_error_number("10") == verify_error_number("cert_has_expired") == 10
    assert verify_error_number("X509_V_OK") == 0
    assert verify_error_number("CERT_HAS_EXPIRD") is None
    assert verify_error_number("99999999999999999999") is None
    assert verify_error_number("١٠") is None  # digits of another script
    assert verify_error_name(7777) == "7777"
