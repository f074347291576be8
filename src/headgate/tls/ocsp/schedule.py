"""When to ask a responder again. Time and chance are arguments.

A response is renewed when half of its validity is over, so that a responder may fail for the other half. `ocsp-update.mindelay`
and `ocsp-update.maxdelay` bound that, as in HAProxy, with one exception: a response that ends sooner than the shortest delay is
renewed before it ends, since otherwise there would be nothing to staple in between.
"""

from __future__ import annotations

from headgate.base.records import dataclass
from headgate.tls.ocsp.response import Response

#: The part of a delay that chance decides on, so that certificates which were loaded together are not renewed together.
SPREAD = 0.2
#: The first waits after a failure, seconds: with nothing to staple, and with a response that is still good. They double.
_FIRST_WITHOUT, _FIRST_WITH = 5.0, 60.0
#: The same for a certificate whose clients insist on a response, and there is none.
_FIRST_URGENT = 1.0
#: No delay is shorter, seconds: whatever a response says of its end.
SHORTEST = 1.0


@dataclass(frozen=True, slots=True)
class Delays:
    """`ocsp-update.mindelay` and `ocsp-update.maxdelay` (manual 3.1), seconds."""

    shortest: float = 300.0
    longest: float = 3600.0


def delay_after_success(response: Response, now: float, delays: Delays, chance: float) -> float:
    """How long to wait before the response is renewed.

    Args:
        response: the one on hand, valid now.
        now: seconds since the epoch.
        delays: bounds.
        chance: at random from [0, 1).

    Returns:
        Seconds.
    """
    if response.next_update is None:
        wait = delays.shortest  # there may always be a newer one
    else:
        half = (response.this_update + response.next_update) / 2
        left = response.next_update - now
        wait = min(half - now if half > now else left / 2, delays.longest)
        if delays.shortest > left / 2:
            # It would end before, or too soon behind: then the shortest delay can't hold.
            return max(SHORTEST, min(wait, left / 2) * (1 - SPREAD * chance))
    if wait <= delays.shortest:
        return min(delays.shortest * (1 + SPREAD * chance), delays.longest)
    return max(delays.shortest, wait * (1 - SPREAD * chance))


def delay_after_failure(
    in_a_row: int,
    response: Response | None,
    now: float,
    delays: Delays,
    chance: float,
    retry_after: float | None = None,
    *,
    urgent: bool = False,
) -> float:
    """How long to wait before the next attempt.

    Args:
        in_a_row: failures since the last success, at least 1.
        response: what is on hand, None without a valid one.
        now: seconds since the epoch.
        delays: bounds: without a response to staple the shortest delay is the longest wait.
        chance: at random from [0, 1).
        retry_after: what the responder has asked for, seconds.
        urgent: the certificate is a must-staple one.

    Returns:
        Seconds.
    """
    left = 0.0 if response is None else max(response.expires - now, 0.0)
    first = min(_FIRST_WITH if left else _FIRST_URGENT if urgent else _FIRST_WITHOUT, delays.shortest)
    wait = first * float(1 << min(in_a_row - 1, 16))
    if left:
        # The nearer the end, the more often.
        wait = min(wait, delays.longest, max(left / 4, first))
    else:
        wait = min(wait, delays.shortest)
    if retry_after is not None:
        wait = max(wait, min(retry_after, delays.longest))
    return max(SHORTEST, wait * (1 - SPREAD + 2 * SPREAD * chance))
