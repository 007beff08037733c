"""The base of every resource's view: which parameters it takes, what may be included, how it is stored."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import JSONField, ProtectedError, Q, QuerySet
from django.http import HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from core.audit.recording import recording
from core.database.casefold import fold
from core.database.compiled import write_transaction
from core.idempotency import attempts
from core.rest.errors import Conflict, InvalidParameter, PreconditionFailed
from core.rest.filters import LONGEST_SEARCH, SortBackend
from core.rest.operations import STANDARD, Operation
from core.rest.renderers import API_ROOT
from core.rest.visible import attach

COLLISION = "Someone else changed the same at this moment. Nothing was stored; try again."
VARY = ("Accept", "Authorization", "Cookie")  # what every answer depends on
CHANGES = {"POST": "add", "PATCH": "set", "DELETE": "remove"}


class ResourceView(GenericViewSet):
    """Resources of one type, with the actions that are declared with `operation` and `relationship`.

    `filterset_class`, `search_fields` (of folded names) and `sort_fields` (names to columns) say what its lists can be
    asked.
    """

    lookup_value_converter = "int"  # [0-9]+: no other digits, no sign
    key = "pk"  # the field that the id in the path is of
    http_method_names = ["get", "post", "patch", "delete", "head"]
    queryset: Any = None
    filterset_class: Any = None
    search_fields: tuple[str, ...] = ()
    searched = "name"  # where search looks, in words
    sort_fields: ClassVar[dict[str, str]] = {}
    without_query = False  # whether a representation is being made as if the request had no query

    attempt: attempts.Attempt | None = None  # to answer what came with an Idempotency-Key

    # what is asked

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer, and keep the answer to what came with an Idempotency-Key, in one transaction with what it did."""
        try:
            with ExitStack() as self.until_kept:
                response = self.rendered(super().dispatch(request, *args, **kwargs))
                if self.attempt:
                    self.attempt.settle(response, is_secret=self.operation.holds_secret)
        except attempts.Failed as failure:
            response = failure.response
            assert self.attempt
            with suppress(DatabaseError):
                self.attempt.settle_failure(response)
        except BaseException as error:
            if self.attempt is None:
                raise
            with suppress(DatabaseError):  # whoever cannot be asked now has the lease to wait for
                self.attempt.give_up()
            if not isinstance(error, Exception):
                raise
            # PostgreSQL says only at the end that a row was deleted which another was to refer to
            problem = Conflict(COLLISION) if isinstance(error, IntegrityError) else error
            response = self.rendered(self.finalize_response(self.request, self.handle_exception(problem)))
        return response

    def rendered(self, response: Any) -> Any:
        if self.attempt and isinstance(response, Response):
            response.render()
        return response

    def handle_exception(self, exc: Exception) -> Any:
        return exc.response if isinstance(exc, attempts.AnsweredBefore) else super().handle_exception(exc)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action and (request.method or "").lower() in self.http_method_names:  # else it is a 405
            self.check_parameters()
            self.check_include()
            self.check_repetition()

    def check_repetition(self) -> None:
        """Of requests with the same Idempotency-Key, the first is done. What streams sees to it by itself."""
        if self.request.method != "POST" or (key := attempts.key_of(self.request)) is None:
            return
        if not (self.operation.streams or self.operation.repeatable):
            self.attempt = attempts.begin(self.request._request, user=self.user, key=key)
            if not self.operation.waits:
                self.until_kept.enter_context(write_transaction())

    @property
    def has_operation(self) -> bool:
        """Whether what is asked is one of ours, and no OPTIONS or unknown method."""
        return bool(self.action) and hasattr(self, self.action)

    @property
    def operation(self) -> Operation:
        own = getattr(getattr(self, self.action), "operation", None)
        method = "get" if self.request.method == "HEAD" else (self.request.method or "").lower()
        return own[method] if own else STANDARD[self.action]

    @property
    def speaks_jsonapi(self) -> bool:
        return bool(self.request.accepted_renderer.format == "jsonapi")

    @property
    def user(self) -> Any:
        """Who is calling: permissions have seen to it that they are signed in."""
        return self.request.user

    @property
    def query(self) -> Any:
        return {} if self.without_query else self.request.query_params

    @property
    def include(self) -> list[str]:
        """The relations to include with each resource."""
        return list(filter(None, self.query.get("include", "").split(",")))

    def known_parameters(self) -> set[str]:
        operation = self.operation
        known = {parameter.name for parameter in operation.parameters if parameter.place == "query"}
        if operation.returns in ("many", "identifiers"):
            paginator: Any = self.paginator
            known |= set(paginator.names)
        if operation.returns == "many":
            known |= {"sort"} if SortBackend in self.filter_backends else set()
            known |= {"search"} if self.search_fields else set()
            known |= (
                {f"filter[{name}]" for name in self.filterset_class.base_filters} if self.filterset_class else set()
            )
        if self.speaks_jsonapi and operation.returns in ("one", "many"):
            known |= {"include", *(f"fields[{serializer.shape().type}]" for serializer in self.related_serializers())}
        return known

    def check_parameters(self) -> None:
        """Refuse a query parameter that this endpoint does not have, or that is there twice, or not at all."""
        known = self.known_parameters()
        for name, values in self.request.query_params.lists():
            if name not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise InvalidParameter(name, f"There is no parameter {name} here. There are: {listed}.", unknown=True)
            if len(values) > 1:
                raise InvalidParameter(name, f"{name} is there {len(values)} times; once is enough.")
        for parameter in self.operation.parameters:
            if parameter.required and not self.request.query_params.get(parameter.name, "").strip():
                raise InvalidParameter(parameter.name, f"{parameter.name} is missing. {parameter.description}")

    def related_serializers(self) -> Iterator[Any]:
        """The serializer of the answer and those of what can be included."""
        own: Any = self.operation.answers or self.get_serializer_class()
        yield own
        yield from own.included_serializers.values()

    def check_include(self) -> None:
        for serializer in self.related_serializers():
            shape, name = serializer.shape(), f"fields[{serializer.shape().type}]"
            members = shape.attributes + shape.relations
            for field in filter(None, self.query.get(name, "").split(",")):
                if field not in members:
                    raise InvalidParameter(name, f"{shape.type} has no {field}; it has {', '.join(members)}.")
        own: Any = self.operation.answers or self.get_serializer_class()
        for path in self.include:
            if path not in own.included_serializers:
                listed = ", ".join(own.included_serializers) or "nothing"
                raise InvalidParameter("include", f"{path} cannot be included here; {listed} can.")
            hidden = path in getattr(own.Meta, "administrators_read", ())
            if not self.user.is_admin and (hidden or own.included_serializers[path].for_administrators()):
                raise PermissionDenied(f"Only administrators may include {path}.")

    @property
    def body(self) -> Any:
        """What the parser made of the body; a ParseError when there is none."""
        if self.request.stream is None and not self.request.data:
            raise ParseError("The body is missing.")
        return self.request.data

    def integer(self, name: str) -> int:
        """The value of a query parameter that must be an integer of 64 bits."""
        text = self.request.query_params[name]
        if text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
            return int(text)
        raise InvalidParameter(name, f"{name} must be an integer of 64 bits.")

    # what is there

    def get_queryset(self) -> QuerySet[Any]:
        """What the caller may see, with the single resources that are to be included."""
        serializer: Any = self.get_serializer_class()
        to_one = [name for name in self.include if name in serializer.shape().to_one]
        queryset = self.queryset.visible_to(self.user)
        return queryset.select_related(*to_one) if to_one else queryset  # without names it would follow all

    def attach_shown(self, serializer: Any, rows: Any, include: Sequence[str]) -> None:
        """Give these rows what their representation shows of relations to many, and so on for what it includes."""
        shape = serializer.shape()
        for name in shape.to_many:
            if name not in shape.on_request or name in include:
                others = attach(rows, name, self.user)
                if name in include:
                    self.attach_shown(serializer.included_serializers[name], others, ())
        for name in shape.to_one:
            if name in include:
                others = [other for row in rows if (other := getattr(row, name))]
                self.attach_shown(serializer.included_serializers[name], others, ())

    def get_object(self) -> Any:
        """The resource of the path: filters are for lists, and here those of another resource's."""
        return get_object_or_404(self.get_queryset(), **{self.key: self.kwargs["pk"]})

    def locked_object(self, *, to_delete: bool = False) -> Any:
        """The resource, which nobody else changes, nor, when it is to be deleted, refers to, in this transaction."""
        # a join would lose the row: PostgreSQL looks at it again after waiting, and not at what it is joined with
        queryset = self.get_queryset().select_related(None).select_for_update(no_key=not to_delete)
        return get_object_or_404(queryset, **{self.key: self.kwargs["pk"]})

    def answer_list(self, queryset: QuerySet[Any]) -> Response:
        page: Any = self.paginate_queryset(self.filter_queryset(queryset))
        return self.get_paginated_response(self.represented(page, many=True))

    def answer_search(self, field: str, parameter: str) -> Response:
        """Those whose folded field begins with the value of the parameter."""
        text = self.request.query_params[parameter]
        if "\0" in text or len(text) > LONGEST_SEARCH:
            raise InvalidParameter(parameter, f"{parameter} must have at most {LONGEST_SEARCH} characters, no NUL.")
        return self.answer_list(self.get_queryset().filter(**{f"{field}__startswith": fold(text)}))

    def represented(self, rows: Any, many: bool = False) -> Any:
        """What the answer shows of a resource, or of many: within a transaction, as it is there."""
        serializer_class: Any = self.operation.answers or self.get_serializer_class()
        self.attach_shown(serializer_class, rows if many else [rows], self.include)
        return serializer_class(rows, many=many, context=self.get_serializer_context()).data

    def answer_one(self, instance: Any) -> Response:
        return self.answer_with(self.represented(instance))

    def answer_with(self, data: Any, status: int = HTTPStatus.OK) -> Response:
        """The resource, with its ETag where the request has no query."""
        response = Response(data, status=status)
        if not self.request.query_params and self.operation.answers is None:
            response.add_post_render_callback(self.tag)
        return response

    def search_elsewhere(self, word: str) -> Q:
        """Where a word, not folded, is looked for beside the `search_fields`."""
        return Q()

    # relations

    def answer_relationship(self, relation: str) -> Response:
        """Show or change a relation to many; nothing happens where it is already so."""
        if self.request.method in ("GET", "HEAD"):
            related: Any = self.get_serializer_class()
            queryset = getattr(self.get_object(), relation).all().visible_to(self.user).order_by("pk")
            kind = related.included_serializers[relation].shape().type
            keys: Any = self.paginate_queryset(queryset.values_list("pk", flat=True))
            return self.get_paginated_response([{"type": kind, "id": str(key)} for key in keys])
        return self.change_relation(relation, CHANGES[str(self.request.method)])

    def change_relation(self, relation: str, change: str) -> Response:
        """Add, set or remove the resources that the body names."""
        try:
            with transaction.atomic(), recording():
                holder = self.locked_object()
                self.check_precondition(holder)
                manager = getattr(holder, relation)
                found = self.named_resources(relation)
                if change == "set":
                    manager.set(found)
                else:
                    getattr(manager, change)(*found)
        except IntegrityError:  # one of them was deleted at this moment
            self.named_resources(relation)
            raise Conflict(COLLISION) from None
        return Response(status=HTTPStatus.NO_CONTENT)

    def named_resources(self, relation: str) -> list[Any]:
        """The resources that the body names for this relation, as far as the caller may see them."""
        serializer: Any = self.get_serializer()
        found: list[Any] = serializer.fields[relation].to_internal_value(self.body)
        return found

    # conditions

    def tag(self, response: HttpResponse) -> HttpResponse | None:
        """Give an answer its ETag; a client that has it already gets 304 instead."""
        response["ETag"] = etag(response.content)
        known = parse_etags(self.request.headers.get("If-None-Match", ""))
        if self.request.method not in ("GET", "HEAD") or not {"*", response["ETag"]} & {
            item.removeprefix("W/") for item in known
        }:
            return None
        unchanged = HttpResponseNotModified()
        for name in ("ETag", "Vary", "Cache-Control"):
            unchanged[name] = response[name]
        return unchanged

    def check_precondition(self, instance: Any) -> None:
        """Refuse a write to something else than what the client saw (`If-Match`)."""
        wanted = self.request.headers.get("If-Match")
        if wanted is None or wanted.strip() == "*":
            return
        self.without_query = True
        serializer: Any = self.get_serializer(instance)
        self.attach_shown(serializer, [instance], ())
        current = self.request.accepted_renderer.render(serializer.data, renderer_context=self.get_renderer_context())
        self.without_query = False
        if etag(current) not in parse_etags(wanted):
            raise PreconditionFailed("It has changed since you read it. Read it again, and decide anew.")

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, VARY)
        response["Cache-Control"] = "private, no-cache"
        return response


class ResourceViewSet(ResourceView):
    """Resources that can be listed, read, created, changed and deleted."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer_list(self.get_queryset())

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer_one(self.get_object())

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer: Any = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        try:
            with transaction.atomic(), recording():
                self.store(serializer)
                data = self.represented(serializer.instance)
        except IntegrityError:
            self.explain_collision(serializer)
        response = self.answer_with(data, HTTPStatus.CREATED)
        if path := serializer.path(serializer.instance):
            response["Location"] = request.build_absolute_uri(f"{API_ROOT}{path}")
        return response

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer: Any = None
        try:
            with transaction.atomic(), recording():
                instance = self.locked_object()
                self.check_precondition(instance)
                serializer = self.get_serializer(instance, data=self.body, partial=True)
                serializer.is_valid(raise_exception=True)
                self.store(serializer)
                data = self.represented(serializer.instance)
        except IntegrityError:
            self.explain_collision(serializer)
        return self.answer_with(data)

    def store(self, serializer: Any) -> None:
        """Save what was validated, inside the transaction."""
        if serializer.instance is None or serializer.validated_data:  # to change nothing is no change
            self.save(serializer)
            model: Any = type(serializer.instance)
            if names := formless(model) & serializer.validated_data.keys():
                serializer.instance.refresh_from_db(fields=names)

    def save(self, serializer: Any) -> None:
        serializer.save()

    @staticmethod
    def explain_collision(serializer: Any) -> None:
        """Someone was faster: what collided is stored now, and the validators see it."""
        if serializer is not None:
            serializer.run_validation(serializer.initial_data)
        raise Conflict(COLLISION)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic(), recording():
            instance = self.locked_object(to_delete=True)
            self.check_precondition(instance)
            self.remove(instance)
        return Response(status=HTTPStatus.NO_CONTENT)

    def remove(self, instance: Any) -> None:
        """Delete it, inside the transaction; Conflict names what relies on it."""
        try:
            instance.delete()
        except ProtectedError as error:
            names = sorted(str(item) for item in error.protected_objects)
            shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            raise Conflict(f"It is in use by {shown}.") from None


@cache
def formless(model: Any) -> frozenset[str]:
    """The fields of which PostgreSQL keeps neither the order of members nor the form of numbers."""
    return frozenset(field.name for field in model._meta.concrete_fields if isinstance(field, JSONField))


def etag(content: Any) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
