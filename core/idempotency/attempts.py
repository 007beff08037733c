"""`Idempotency-Key`: a POST that is sent again, since its answer was lost, is not done again but answered again.

A key holds for a person, method and path. The first request with it stores a row, committed before anything is done,
and fills in its answer at the end, in the transaction of what it did; that is what the same request gets within KEPT.
While it is being answered the row is leased: when the process dies in between, nothing was done, and the next attempt
may run once the lease is over. If it was only slow, it finds its row taken over, and what it did is undone.
"""

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.exceptions import APIException, AuthenticationFailed

from core.idempotency.models import IdempotentRequest
from core.rest.errors import Conflict, InvalidParameter, PayloadTooLarge
from core.rest.operations import Parameter

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"  # a header of an answer that was given before
LONGEST_KEY = 200  # characters
LEASE = timedelta(seconds=30)  # longer than any POST takes that is not streamed
KEPT = timedelta(hours=24)
NOT_KEPT = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)  # these may change
KEPT_HEADERS = ("Content-Type", "Location", "ETag")
KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"}
KEY = Parameter(
    HEADER,
    KEY_SCHEMA,
    f"Of a POST, one for each thing to be done: sent again within 24 hours, it is not done again but answered as it"
    f" was, with {REPLAYED}: true. With another body it is a 422, and a 409 while the first is still being answered"
    " or when its answer held a secret.",
    required=False,
    place="header",
)


class KeyReused(APIException):
    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key came with another body before. Take a new one for each thing to be done."


class StillRunning(Conflict):
    """`wait` becomes Retry-After."""

    def __init__(self, lease_until: datetime) -> None:
        super().__init__("The first request with this Idempotency-Key is still being answered. Ask again in a moment.")
        self.wait = min(max(1, (lease_until - timezone.now()).total_seconds()), LEASE.total_seconds())


class TakenOver(Conflict):
    """This attempt took longer than its lease, and another has begun."""

    def __init__(self) -> None:
        super().__init__("This took so long that the same request, sent again, is being answered in its place.")


class AnsweredBefore(Exception):
    """There is an answer: `response`."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response


class Failed(Exception):
    """The answer, `response`, is an error: what was done before it is to be undone."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response


def key_of(request: Any) -> str | None:
    """The key of a request, if it has one; raises InvalidParameter for what is none."""
    key: str | None = request.headers.get(HEADER)
    if key is not None and not (len(key) <= LONGEST_KEY and re.fullmatch(KEY_SCHEMA["pattern"], key)):  # type: ignore
        detail = f"It must have 1 to {LONGEST_KEY} characters of printable ASCII, none of them a space."
        raise InvalidParameter(HEADER, detail)
    return key


@dataclass(frozen=True)
class Attempt:
    """The right to answer a request, until its lease is over."""

    row: int
    holder: uuid.UUID

    @property
    def own(self) -> models.QuerySet[Any]:
        """The row, as long as nobody else took it over."""
        return IdempotentRequest.objects.filter(pk=self.row, holder=self.holder)

    def settle(self, response: HttpResponse, *, is_secret: bool) -> None:
        """Keep the answer for who asks again; raises Failed, and TakenOver where another has its place already."""
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise Failed(response)
        if not self.keep(response, is_secret=is_secret):
            raise TakenOver

    def settle_failure(self, response: HttpResponse) -> None:
        """Keep an error, unless another attempt may fare better."""
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status_code in NOT_KEPT:
            self.give_up()
        else:
            self.keep(response)

    def keep(self, response: HttpResponse, *, is_secret: bool = False) -> bool:
        answer: dict[str, Any] = {"status": response.status_code, "is_secret": is_secret}
        if not is_secret:
            answer["headers"] = {name: response[name] for name in KEPT_HEADERS if name in response}
            answer["content"] = response.content.decode()
        return bool(self.own.update(**answer))

    def give_up(self) -> None:
        """Let the next attempt run at once, unless there is an answer: what fails afterwards undoes nothing of it."""
        self.own.filter(status=None).delete()


def begin(request: HttpRequest, *, user: Any, key: str) -> Attempt:
    """The right to answer this request.

    Raises AnsweredBefore, KeyReused, StillRunning, Conflict where the answer is not kept, for it held a secret.
    """
    now, mine = timezone.now(), uuid.uuid4()
    scope = {"user": user, "method": request.method, "path": request.path, "key": key}
    fresh: dict[str, Any] = {
        "body_digest": digest_of(request),
        "holder": mine,
        "lease_until": now + LEASE,
        "created_at": now,
        "status": None,
        "headers": {},
        "content": "",
        "is_secret": False,
    }
    rows = IdempotentRequest.objects
    try:
        rows.bulk_create([IdempotentRequest(**scope, **fresh)], ignore_conflicts=True)
    except IntegrityError:
        raise AuthenticationFailed("The user was deleted at this moment.") from None
    found = rows.filter(**scope).first()
    if found is None:  # its attempt gave up at this moment
        raise StillRunning(now)
    if found.holder == mine:
        return Attempt(found.pk, mine)
    is_over = found.created_at < now - KEPT
    if not is_over:
        check_answer(found, fresh["body_digest"], now)
    # of several that see a lease run out, one takes it over
    if rows.filter(pk=found.pk, holder=found.holder).update(**fresh):
        return Attempt(found.pk, mine)
    raise StillRunning(now + LEASE)


def check_answer(found: Any, body_digest: str, now: datetime) -> None:
    """Return where the request may be done: its first attempt is dead."""
    if found.body_digest != body_digest:
        raise KeyReused
    if found.is_secret:
        raise Conflict(
            "This was done with the first request of this Idempotency-Key. Its answer held a secret, which is not kept:"
            " look at what there is, and take a new Idempotency-Key to have another one made."
        )
    if found.status is not None:
        response = HttpResponse(found.content, status=found.status, headers={**found.headers, REPLAYED: "true"})
        if not found.content:
            response.headers.pop("Content-Type", None)
        raise AnsweredBefore(response)
    if found.lease_until > now:
        raise StillRunning(found.lease_until)


def digest_of(request: HttpRequest) -> str:
    """What must be the same for a request to be the same: query, media type and body."""
    try:
        body = request.body
    except RequestDataTooBig:
        raise PayloadTooLarge(f"The body has more than {settings.MAX_BODY_SIZE:,} bytes.") from None
    said = (request.META.get("QUERY_STRING", ""), request.content_type or "", hashlib.sha256(body).hexdigest())
    return hashlib.sha256("\0".join(said).encode("utf-8", "surrogateescape")).hexdigest()


def forget_old() -> None:
    """Delete what is older than KEPT; nothing is written where nothing is."""
    old = IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEPT)
    if old.exists():
        old.delete()
