"""Names in X.509 certificates as OpenSSL writes them: distinguished names in its one line and by RFC 2253, alternative names.

Pure functions over `cryptography.x509`, for sample fetches (manual 7.3.4), `show ssl cert` and messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.wire.der import element

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, GeneralName, Name, NameAttribute

#: Short names as OpenSSL prints them, by object identifier.
_SHORT: Final = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
}
#: Kinds of other names that OpenSSL has words for.
_OTHER: Final = {
    "1.3.6.1.4.1.311.20.2.3": "UPN", "1.3.6.1.5.5.7.8.5": "XmppAddr", "1.3.6.1.5.5.7.8.7": "SRVName",
    "1.3.6.1.5.5.7.8.8": "NAIRealm", "1.3.6.1.5.5.7.8.9": "SmtpUTF8Mailbox",
}
#: Characters with a backslash in front wherever they stand (RFC 2253 section 2.4).
_SPECIAL: Final = frozenset(b',+"\\<>;')
_TEXT_TAGS: Final = (0x0C, 0x16)  # UTF8String, IA5String


def oneline(name: Name) -> bytes | None:
    """A distinguished name as OpenSSL's `/C=FR/CN=x`; None for an empty one, and for one that must not be believed."""
    attributes = list(name)
    if not attributes or any(nul_inside(attribute) for attribute in attributes):
        return None
    return b"".join(f"/{short_name(attribute)}=".encode() + value_of(attribute) for attribute in attributes)


def rfc2253(name: Name) -> bytes | None:
    """A distinguished name as LDAP has it, from the last part to the first, in OpenSSL's spelling; None as `oneline`."""
    if oneline(name) is None:
        return None
    parts = [b"+".join(_escaped(attribute) for attribute in reversed(list(part))) for part in reversed(name.rdns)]
    return b",".join(parts)


def readable(name: Name) -> str:
    """A distinguished name for messages: as RFC 4514 has it, with the names of attributes that OpenSSL knows."""
    from cryptography.x509 import ObjectIdentifier

    return name.rfc4514_string({ObjectIdentifier(number): short for number, short in _SHORT.items()})


def _escaped(attribute: NameAttribute[str | bytes]) -> bytes:
    identifier = attribute.oid.dotted_string
    short = _SHORT.get(identifier)
    if short is None:  # nobody knows how its value is to be read: "#" and its encoding
        return f"{identifier}=#{_encoded(attribute).hex().upper()}".encode()
    value = value_of(attribute)
    last = len(value) - 1
    written = bytearray(f"{short}=", "ascii")
    for at, byte in enumerate(value):
        if byte < 0x20 or byte > 0x7E:
            written += b"\\%02X" % byte
        elif byte in _SPECIAL or (byte == 0x20 and at in (0, last)) or (byte == 0x23 and at == 0):
            written += b"\\%c" % byte
        else:
            written.append(byte)
    return bytes(written)


def _encoded(attribute: NameAttribute[str | bytes]) -> bytes:
    """The value's DER: in a name of one attribute it stands in two sequences and a set, behind the identifier."""
    from cryptography.x509 import Name

    data, start, size = Name([attribute]).public_bytes(), 0, 0
    for _ in range(4):
        start, size = element(data, start)
    return data[start + size :]


def short_name(attribute: NameAttribute[str | bytes]) -> str:
    """`CN`; the number of what has no name."""
    return _SHORT.get(attribute.oid.dotted_string, attribute.oid.dotted_string)


def value_of(attribute: NameAttribute[str | bytes]) -> bytes:
    """The value as it is sent, UTF-8."""
    value = attribute.value
    return value if isinstance(value, bytes) else value.encode()


def nul_inside(attribute: NameAttribute[str | bytes]) -> bool:
    """A name with a zero byte inside is an attack on C programs; the manual refuses it."""
    return b"\0" in value_of(attribute).rstrip(b"\0")


def alternative_names(certificate: Certificate) -> list[str] | None:
    """The subject alternative names as OpenSSL prints them: `DNS:a.example`, `IP Address:192.0.2.1`; None without any.

    Raises:
        ValueError: they can't be decoded.
    """
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName

    try:
        extension = certificate.extensions.get_extension_for_class(SubjectAlternativeName)
    except ExtensionNotFound:
        return None
    return [_alternative(name) for name in extension.value]


def _alternative(name: GeneralName) -> str:
    # Each by its name: in compiled code a module that is imported here may not be there yet.
    from cryptography.x509 import (
        DirectoryName,
        DNSName,
        IPAddress,
        OtherName,
        RegisteredID,
        RFC822Name,
        UniformResourceIdentifier,
    )

    if isinstance(name, IPAddress):
        address = name.value
        if getattr(address, "version", 0) == 6:
            packed = address.packed  # type: ignore[union-attr]
            return "IP Address:" + ":".join(f"{int.from_bytes(packed[at : at + 2], 'big'):X}" for at in range(0, 16, 2))
        return f"IP Address:{address}"
    if isinstance(name, DirectoryName):
        return f"DirName:{(oneline(name.value) or b'').decode('utf-8', 'backslashreplace')}"
    if isinstance(name, RegisteredID):
        return f"Registered ID:{name.value.dotted_string}"
    if isinstance(name, OtherName):
        kind = name.type_id.dotted_string
        text = "<unsupported>"
        if name.value[:1] and name.value[0] in _TEXT_TAGS:
            start, size = element(name.value, 0)
            text = name.value[start : start + size].decode("utf-8", "replace")
        return f"othername: {_OTHER.get(kind, kind)}::{text}"
    kinds = {DNSName: "DNS", RFC822Name: "email", UniformResourceIdentifier: "URI"}
    return f"{kinds.get(type(name), type(name).__name__)}:{name.value}"
