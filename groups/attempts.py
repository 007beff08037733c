"""Counts attempts to sign in and wrong tokens, for all workers, and knows the browsers that have signed in before."""

import secrets
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from django.core import signing
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.database.compiled import python_values, write_transaction
from groups.models import SignInAttempt

COOKIE = "aistudio_browser"
COOKIE_LIFE = timedelta(days=365)
MOST_ACCOUNTS = 5  # of one browser; the last ones count

# Counts an attempt, for all workers. Returns how many are in the current window; the first attempt opens it.
# One statement, so that simultaneous attempts get different numbers.
ONE_MORE = """
    INSERT INTO groups_signinattempt AS known (counter, count, ends_at) VALUES (%(counter)s, 1, %(ends_at)s)
    ON CONFLICT (counter) DO UPDATE SET
        count = CASE WHEN known.ends_at > %(now)s THEN known.count + 1 ELSE 1 END,
        ends_at = CASE WHEN known.ends_at > %(now)s THEN known.ends_at ELSE excluded.ends_at END
    RETURNING count, ends_at
"""


def count_attempt(counter: str, window: timedelta) -> tuple[int, float]:
    """Count an attempt; returns how many there are in the present window, and the seconds until its end."""
    now, adapt = timezone.now(), connection.ops.adapt_datetimefield_value
    values = {"counter": counter, "now": adapt(now), "ends_at": adapt(now + window)}
    with write_transaction(), connection.cursor() as cursor:
        cursor.execute(ONE_MORE, values)
        count, stored = cursor.fetchone()
    (ends_at,) = python_values(SignInAttempt, ("ends_at",), [stored])
    assert isinstance(ends_at, datetime)
    return count, max(1.0, (ends_at - now).total_seconds())


def network_of(request: HttpRequest) -> str:
    """Where a request comes from, for counting: an IPv4 address, or an IPv6 address's /64, which one person has."""
    text = request.META.get("REMOTE_ADDR") or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:  # none, behind a Unix socket
        return text[:45]
    if address.version == 6 and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def known_browser(request: HttpRequest, account: str) -> str | None:
    """What names the browser, if someone has signed in with it to this account before."""
    return accounts_of(request).get(short_name(account))


def remember_browser(request: HttpRequest, account: str) -> None:
    """Let the answer to the request mark its browser as one that has signed in to this account."""
    accounts, name = accounts_of(request), short_name(account)
    mark = accounts.pop(name, None) or secrets.token_urlsafe(12)
    kept = dict([*accounts.items(), (name, mark)][-MOST_ACCOUNTS:])
    cookie = {"value": signing.dumps(kept, salt=COOKIE), "max_age": COOKIE_LIFE}
    request.late_cookies = {COOKIE: cookie}  # type: ignore[attr-defined]  # core.server.middleware sets it


def accounts_of(request: HttpRequest) -> dict[str, str]:
    """The marks of a browser by the accounts that have signed in with it; none if its cookie is forged."""
    try:
        return dict(signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=COOKIE_LIFE))
    except signing.BadSignature:
        return {}


def short_name(account: str) -> str:
    """A name of the account that tells nothing of its e-mail."""
    return salted_hmac(COOKIE, account, algorithm="sha256").hexdigest()[:16]
