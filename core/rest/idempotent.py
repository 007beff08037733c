"""Views whose POST requests can be repeated with an Idempotency-Key."""

from contextlib import ExitStack, suppress
from typing import Any

from django.db import DatabaseError, IntegrityError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.response import Response

from core.database.compiled import write_transaction
from core.idempotency import attempts
from core.rest.errors import Conflict
from core.rest.operations import OperationView

COLLISION = "Someone else changed the same at this moment. Nothing was stored; try again."


class IdempotentView(OperationView):
    """Answers a request with an Idempotency-Key once, and stores the answer in the transaction of what it did."""

    attempt: attempts.Attempt | None = None

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response: Any
        try:
            with ExitStack() as self.transaction:
                response = super().dispatch(request, *args, **kwargs)
                if self.attempt:
                    if isinstance(response, Response):
                        response.render()
                    self.attempt.settle(response, is_secret=self.operation.holds_secret)
        except attempts.Failed as failure:
            response = failure.response
            assert self.attempt
            with suppress(DatabaseError):
                self.attempt.settle_failure(response)
        except BaseException as error:
            if self.attempt is None:
                raise
            with suppress(DatabaseError):  # if the database is away, a repeated request must wait until the lease ends
                self.attempt.give_up()
            if not isinstance(error, Exception):
                raise
            # at commit PostgreSQL may report that a row to which a new row refers was deleted
            problem = Conflict(COLLISION) if isinstance(error, IntegrityError) else error
            failure_response: Any = self.handle_exception(problem)
            response = self.finalize_response(self.request, failure_response)
            if isinstance(response, Response):
                response.render()
        return response

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        return exc.response if isinstance(exc, attempts.AnsweredBefore) else super().handle_exception(exc)

    def begin_attempt(self) -> None:
        """Run only the first of the requests with one key. Operations that stream handle the key themselves."""
        key = attempts.key_of(self.request)
        if key is None or self.operation.streams or self.operation.repeatable:
            return
        self.attempt = attempts.begin(
            self.request._request, user=self.user, key=key, media_type=self.request.accepted_renderer.media_type
        )
        if not self.operation.waits:
            self.transaction.enter_context(write_transaction())
