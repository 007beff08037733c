"""`Idempotency-Key`: a client that lost the answer to a POST sends it again and gets the same answer.

A key holds for one user, method and path. The first request with a key commits a row before it does anything else. Its
answer is stored in that row in the same transaction as its changes. A repeated request within KEPT gets this answer.
While the first request runs, it holds a lease on the row. If its process dies, its transaction is rolled back, and the
next attempt may take the row over when the lease has run out. An attempt that was only slow finds its row taken over,
and rolls back.
"""

import hashlib
import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from core.idempotency.models import IdempotentRequest
from core.rest.errors import Conflict, InvalidParameter, PayloadTooLarge
from core.rest.operations import Parameter
from core.rest.parsers import strict_json
from core.rest.preconditions import etag

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"  # the header that marks a stored answer
LONGEST_KEY = 200  # characters
KEY_PATTERN = "^[!-~]+$"
LEASE = timedelta(seconds=30)  # longer than any POST takes that is not streamed
KEPT = timedelta(hours=24)
NOT_KEPT = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)  # a retry may succeed
KEPT_HEADERS = ("Content-Type", "Location", "ETag")
KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": KEY_PATTERN}
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
    """422: the key came with another body before."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key came with another body before. Take a new one for each thing to be done."


class StillRunning(Conflict):
    """Another attempt holds the lease. `wait` is in seconds and becomes Retry-After."""

    def __init__(self, lease_until: datetime) -> None:
        super().__init__("The first request with this Idempotency-Key is still being answered. Ask again in a moment.")
        self.wait = min(max(1, (lease_until - timezone.now()).total_seconds()), LEASE.total_seconds())


@dataclass(eq=False)
class AnsweredBefore(Exception):
    """There is a stored answer."""

    response: HttpResponse


@dataclass(eq=False)
class Failed(Exception):
    """The answer is an error, so the transaction must be rolled back."""

    response: HttpResponse


def key_of(request: HttpRequest | Request) -> str | None:
    """The request's Idempotency-Key; None without one. Raises InvalidParameter if it is malformed."""
    key = request.headers.get(HEADER)
    if key is not None and not (len(key) <= LONGEST_KEY and re.fullmatch(KEY_PATTERN, key)):
        detail = f"It must have 1 to {LONGEST_KEY} characters of printable ASCII, none of them a space."
        raise InvalidParameter(HEADER, detail)
    return key


@dataclass(frozen=True)
class Attempt:
    """The right to answer a request until the lease runs out. Obtain one from `begin`."""

    row: int
    holder: uuid.UUID

    @property
    def own_row(self) -> models.QuerySet[IdempotentRequest]:
        """The row; empty if another attempt took it over."""
        return IdempotentRequest.objects.filter(pk=self.row, holder=self.holder)

    def settle(self, response: HttpResponse, *, is_secret: bool) -> None:
        """Store the answer in the transaction of its changes.

        Raises Failed if the answer is an error, Conflict if another attempt took the row over; then roll back.
        """
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise Failed(response)
        if not self.store_answer(response, is_secret=is_secret):
            raise Conflict("This took so long that the same request, sent again, is being answered in its place.")

    def settle_failure(self, response: HttpResponse) -> None:
        """Store an error as the answer, unless another attempt may succeed. Call it after the rollback."""
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status_code in NOT_KEPT:
            self.give_up()
        else:
            self.store_answer(response)

    def store_answer(self, response: HttpResponse, *, is_secret: bool = False) -> bool:
        """Returns whether this attempt still had its row. Of a secret answer, only the status is stored."""
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        answer = {"headers": headers, "content": response.content.decode(), "alternatives": alternatives(response)}
        answer = {} if is_secret else answer
        return bool(self.own_row.update(status=response.status_code, is_secret=is_secret, **answer))

    def give_up(self) -> None:
        """Let the next attempt run at once. A stored answer stays, because its changes are committed."""
        self.own_row.filter(status=None).delete()


def alternatives(response: Any) -> dict[str, str]:
    """The answer in the media types that its request did not ask for, by their names."""
    context = getattr(response, "renderer_context", None)
    if not (context and response.content):
        return {}
    return {
        renderer.media_type: renderer.render(response.data, renderer.media_type, context).decode()
        for renderer in context["view"].get_renderers()
        if renderer.media_type != response.accepted_media_type
    }


def begin(request: HttpRequest, *, user: AbstractBaseUser, key: str, media_type: str) -> Attempt:
    """Obtain the right to answer the request in this media type. Call it outside of a transaction.

    Raises AnsweredBefore, KeyReused, StillRunning, and Conflict if the answer held a secret and was not stored.
    """
    now, holder = timezone.now(), uuid.uuid4()
    digest = request_digest(request)
    scope = {"user": user, "method": request.method, "path": request.path, "key": key}
    fresh = {
        "body_digest": digest,
        "holder": holder,
        "lease_until": now + LEASE,
        "created_at": now,
        "status": None,
        "headers": {},
        "content": "",
        "alternatives": {},
        "is_secret": False,
    }
    rows = IdempotentRequest.objects
    try:
        rows.bulk_create([IdempotentRequest(**scope, **fresh)], ignore_conflicts=True)
    except IntegrityError:
        raise AuthenticationFailed("The user was deleted at this moment.") from None
    row = rows.filter(**scope).first()
    if row is None:  # the other attempt has just given up and deleted its row
        raise StillRunning(now)
    if row.holder == holder:
        return Attempt(row.pk, holder)
    if row.created_at >= now - KEPT:
        check_repetition(row, digest, media_type, now)
    # Several requests may see that a lease has run out; only one of them finds the old holder and takes the row over.
    if rows.filter(pk=row.pk, holder=row.holder).update(**fresh):
        return Attempt(row.pk, holder)
    raise StillRunning(now + LEASE)


def check_repetition(row: IdempotentRequest, digest: str, media_type: str, now: datetime) -> None:
    """Raise the errors of `begin`. Returns if the earlier attempt died without an answer: this one may run."""
    if row.body_digest != digest:
        raise KeyReused
    if row.is_secret:
        raise Conflict(
            "This was done with the first request of this Idempotency-Key. Its answer held a secret, which is not kept:"
            " look at what there is, and take a new Idempotency-Key to have another one made."
        )
    if row.status is not None:
        headers, content = {**row.headers, REPLAYED: "true"}, row.content
        if media_type in row.alternatives:
            content = row.alternatives[media_type]
            headers["Content-Type"] = media_type
            if "ETag" in headers:
                headers["ETag"] = etag(content.encode())
        response = HttpResponse(content, status=row.status, headers=headers)
        if not row.content:
            response.headers.pop("Content-Type", None)
        raise AnsweredBefore(response)
    if row.lease_until > now:
        raise StillRunning(row.lease_until)


def request_digest(request: HttpRequest) -> str:
    """The SHA-256, in hex, of query, media type and body. A repeated request must have the same.

    Two bodies of JSON are the same whatever their spacing and the order of their members.
    """
    try:
        body = request.body
    except RequestDataTooBig:
        raise PayloadTooLarge(f"The body has more than {settings.MAX_BODY_SIZE:,} bytes.") from None
    with suppress(APIException):  # what is no JSON is compared as it is
        body = json.dumps(strict_json(BytesIO(body)), sort_keys=True).encode()
    parts = (request.META.get("QUERY_STRING", ""), request.content_type or "", hashlib.sha256(body).hexdigest())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def forget_old() -> None:
    """Delete the rows that are older than KEPT. Writes nothing if there are none, so that SQLite is not locked."""
    old = IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEPT)
    if old.exists():
        old.delete()
