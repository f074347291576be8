"""Client certificates with each fault that verification finds, and revocation lists, as files."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from headgate.tls.authority import Authority, Issued, issue, make_authority, revoke
from tests.tls.tls_peers import Folder

DAY = datetime.timedelta(days=1)
LONG_AGO = datetime.datetime.now(datetime.UTC) - 100 * DAY
SOON = datetime.datetime.now(datetime.UTC) + 100 * DAY


class Clients(Folder):
    """A CA with an intermediate, clients of all kinds, and revocation lists, as files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        root = self.root = make_authority("Clients Root")
        middle = self.middle = make_authority("Clients Intermediate", parent=root)
        narrow = make_authority("Narrow Root", path_length=0)
        too_deep = make_authority("Too Deep", parent=narrow)
        old = make_authority("Old Intermediate", parent=root, not_before=LONG_AGO, not_after=LONG_AGO + DAY)
        self.good = self._client("good", middle)
        self.revoked = self._client("revoked", middle)
        self._client("expired", middle, not_before=LONG_AGO, not_after=LONG_AGO + DAY)
        self._client("not_yet", middle, not_before=SOON, not_after=SOON + DAY)
        self._client("stranger", make_authority("Unknown Root"))
        self._client("old_ca", old)
        self._client("too_deep", too_deep)
        self.write("server.pem", issue(middle, ["not.a.client"]).pem)
        own = make_authority("self")
        self.write("self_signed.pem", Issued(own.certificate, own.key).pem)
        self.write("ca.pem", root.certificate_pem + narrow.certificate_pem)
        self.write("root_only.pem", root.certificate_pem)
        self.write("middle_only.pem", middle.certificate_pem)
        of_root = revoke(root)
        self.write("crl_none.pem", of_root + revoke(middle))
        self.write("crl.pem", of_root + revoke(middle, self.revoked.certificate))
        self.write("crl_old.pem", of_root + revoke(middle, last_update=LONG_AGO, next_update=LONG_AGO + DAY))
        self.write("crl_root_only.pem", of_root)
        self.write("crl_all.pem", revoke(root, middle.certificate) + revoke(middle))

    def _client(self, name: str, authority: Authority, **options: Any) -> Issued:
        issued = issue(authority, [name], client=True, **options)
        self.write(f"{name}.pem", issued.pem)
        return issued


#: Kind of client, crl-file, what OpenSSL calls it, at which depth.
FAULTS = [
    ("expired", None, "CERT_HAS_EXPIRED", 0),
    ("not_yet", None, "CERT_NOT_YET_VALID", 0),
    ("self_signed", None, "DEPTH_ZERO_SELF_SIGNED_CERT", 0),
    ("stranger", None, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 0),
    ("server", None, "INVALID_PURPOSE", 0),
    ("old_ca", None, "CERT_HAS_EXPIRED", 1),
    ("too_deep", None, "PATH_LENGTH_EXCEEDED", 2),
    ("revoked", "crl.pem", "CERT_REVOKED", 0),
    ("good", "crl_old.pem", "CRL_HAS_EXPIRED", 0),
    ("good", "crl_root_only.pem", "UNABLE_TO_GET_CRL", 0),
    ("good", "crl_all.pem", "CERT_REVOKED", 1),
]
