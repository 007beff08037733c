"""The base of every resource's view: how resources are found, answered and stored."""

from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, NoReturn

from django.db import IntegrityError, transaction
from django.db.models import JSONField, ProtectedError, Q, QuerySet
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework.exceptions import ParseError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from core.audit.recording import recording
from core.database.casefold import fold
from core.idempotency.attempts import HEADER
from core.rest.errors import Conflict, InvalidParameter, PreconditionFailed
from core.rest.filters import LONGEST_SEARCH
from core.rest.idempotent import COLLISION, IdempotentView
from core.rest.preconditions import conditional_response, etag
from core.rest.query import read_query
from core.rest.renderers import API_ROOT
from core.rest.resource import EVERYTHING
from core.rest.serializers import SerializerClass, resource_schema

READING = ("GET", "HEAD")
VARY = ("Accept", "Authorization", "Cookie")  # request headers that change the response


class ResourceView(IdempotentView):
    """Resources of one type, with the actions that are declared with `extra_action` and `relationship`."""

    key = "pk"  # the field that the id in the path is of
    queryset: Any = None
    selection = EVERYTHING

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if self.action and (request.method or "").lower() in self.http_method_names:  # else it is a 405
            self.selection = read_query(self)
            if request.method == "POST" and HEADER in request.headers:
                self.begin_attempt()

    def finalize_response(self, request: Request, response: Any, *args: object, **kwargs: object) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, VARY)
        response["Cache-Control"] = "private, no-cache"
        return response

    @property
    def body(self) -> Any:
        """What the parser made of the body; raises ParseError if there is none."""
        if self.request.stream is None and not self.request.data:
            raise ParseError("The body is missing.")
        return self.request.data

    def integer(self, name: str) -> int:
        """The value of a query parameter that must be an integer of 64 bits."""
        text = self.request.query_params[name]
        if text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
            return int(text)
        raise InvalidParameter(name, f"{name} must be an integer of 64 bits.")

    # how resources are found

    def get_queryset(self) -> QuerySet[Any]:
        """What the user may see, joined with the single resources that are to be included."""
        queryset = self.queryset.visible_to(self.user)
        if not self.selection.include:
            return queryset
        schema = resource_schema(self.get_serializer_class())
        to_one = [name for name in self.selection.include if name in schema.to_one]
        return queryset.select_related(*to_one) if to_one else queryset  # without names it would follow all

    def search_elsewhere(self, word: str) -> Q:
        """Where `search` looks for a word, not casefolded, beside the `search_fields`."""
        return Q()

    def get_object(self) -> Any:
        """The resource of the path: filters are for lists, and here those of another resource's."""
        return get_object_or_404(self.get_queryset(), **{self.key: self.kwargs["pk"]})

    def locked_object(self, *, to_delete: bool = False) -> Any:
        """The resource, locked until the transaction ends.

        With `to_delete`, no other transaction can add a reference to it.
        """
        # no joins: after waiting for a lock, PostgreSQL reads this row again but not the joined ones, and may drop it
        queryset = self.get_queryset().select_related(None).select_for_update(no_key=not to_delete)
        return get_object_or_404(queryset, **{self.key: self.kwargs["pk"]})

    # how they are answered

    @cached_property
    def answer_serializer(self) -> SerializerClass:
        return self.operation.answers or self.get_serializer_class()

    def answer_list(self, queryset: QuerySet[Any]) -> Response:
        page = self.paginate_queryset(self.filter_queryset(queryset))
        serializer = self.answer_serializer(context=self.get_serializer_context())
        return self.get_paginated_response(serializer.represent(page or [], is_many=True))

    def answer_search(self, field: str, parameter: str) -> Response:
        """The rows whose casefolded field begins with the value of the parameter."""
        text = self.request.query_params[parameter]
        if "\0" in text or len(text) > LONGEST_SEARCH:
            raise InvalidParameter(parameter, f"{parameter} must have at most {LONGEST_SEARCH} characters, no NUL.")
        return self.answer_list(self.get_queryset().filter(**{f"{field}__startswith": fold(text)}))

    def answer_one(self, instance: object, status: int = HTTPStatus.OK) -> Response:
        """One resource, as it is now in this transaction, with its ETag if the request has no query."""
        if self.request.method in READING and self.operation.answers is None:
            self.check_precondition(instance)
        serializer = self.answer_serializer(instance, context=self.get_serializer_context())
        response = Response(serializer.data, status=status)
        if not self.request.query_params and self.operation.answers is None:
            response.add_post_render_callback(partial(conditional_response, self.request))
        return response

    def check_precondition(self, instance: object) -> None:
        """Raises PreconditionFailed as `If-Match` and `If-None-Match` say of what a GET without a query answers.

        What a client has of a GET is no error: `conditional_response` answers it.
        """
        expected = parse_etags(self.request.headers.get("If-Match", "*"))
        unwanted = parse_etags(self.request.headers.get("If-None-Match", ""))
        unwanted = [] if self.request.method in READING else unwanted
        if expected == ["*"] and not unwanted:
            return
        # without the view, and so without what the query of this request selects
        context = {name: value for name, value in self.get_serializer_context().items() if name != "view"}
        current: Any = self.get_serializer_class()(instance, context=context).data
        renderer = self.request.accepted_renderer
        content = renderer.render(current, renderer_context=self.get_renderer_context())
        assert isinstance(content, bytes)
        tag = etag(content)
        if expected != ["*"] and tag not in expected:  # compared strongly: a weak one is never equal
            raise PreconditionFailed("It has changed since you read it. Read it again, and decide anew.")
        if {"*", tag, f"W/{tag}"} & {*unwanted}:
            raise PreconditionFailed("It is there, and If-None-Match asks that it is not.")


class ResourceViewSet(ResourceView):
    """Resources that can be listed, read, created, changed and deleted."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer_list(self.get_queryset())

    def retrieve(self, request: Request, *args: object, **kwargs: object) -> Response:
        return self.answer_one(self.get_object())

    def create(self, request: Request, *args: object, **kwargs: object) -> Response:
        serializer: Any = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        try:
            with transaction.atomic(), recording():
                self.store(serializer)
                response = self.answer_one(serializer.instance, HTTPStatus.CREATED)
        except IntegrityError:
            self.explain_collision(serializer)
        if path := response.data.resources[0].path:
            response["Location"] = request.build_absolute_uri(f"{API_ROOT}{path}")
        return response

    def partial_update(self, request: Request, *args: object, **kwargs: object) -> Response:
        serializer: Any = None
        try:
            with transaction.atomic(), recording() as current:
                instance = self.locked_object()
                current.remember(instance)
                self.check_precondition(instance)
                serializer = self.get_serializer(instance, data=self.body, partial=True)
                serializer.is_valid(raise_exception=True)
                self.store(serializer)
                return self.answer_one(serializer.instance)
        except IntegrityError:
            self.explain_collision(serializer)

    def store(self, serializer: Any) -> None:
        """Save what was validated, inside the transaction."""
        if serializer.instance is None or serializer.validated_data:  # a PATCH without members changes nothing
            self.save(serializer)
            # PostgreSQL reorders the members of JSON and rewrites its numbers, so it is read again
            fields = serializer.instance._meta.concrete_fields
            names = {field.name for field in fields if isinstance(field, JSONField)} & serializer.validated_data.keys()
            if names:
                serializer.instance.refresh_from_db(fields=names)

    def save(self, serializer: Any) -> None:
        serializer.save()

    @staticmethod
    def explain_collision(serializer: Any) -> NoReturn:
        """Another request was faster: what collided is stored now, so that the validators see it."""
        if serializer is not None:
            if serializer.partial:  # its instance has values that were not stored
                serializer.instance.refresh_from_db()
            else:
                serializer.instance = None
            serializer.run_validation(serializer.initial_data)
        raise Conflict(COLLISION)

    def destroy(self, request: Request, *args: object, **kwargs: object) -> Response:
        with transaction.atomic(), recording():
            instance = self.locked_object(to_delete=True)
            self.check_precondition(instance)
            self.remove(instance)
        return Response(status=HTTPStatus.NO_CONTENT)

    def remove(self, instance: Any) -> None:
        """Delete it, inside the transaction; raises Conflict, which names what relies on it."""
        try:
            instance.delete()
        except ProtectedError as error:
            names = sorted(str(item) for item in error.protected_objects)
            first = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            raise Conflict(f"It is in use by {first}.") from None
