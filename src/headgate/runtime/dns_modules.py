"""What dnspython loads when it first needs it: behind `chroot`, where nothing can be imported, it has to be there already.

Without its module a record is not an error but opaque: an address would read as a row of hexadecimal digits.
"""

from __future__ import annotations

import dns._asyncio_backend
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.DNAME
import dns.rdtypes.ANY.NS
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.SRV  # noqa: F401 -- all of them are imported for what dnspython finds in sys.modules
