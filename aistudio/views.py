"""The base of every resource's view: which parameters it takes, what may be included, how it is stored."""

from collections.abc import Iterator
from typing import Any, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet, prefetch_related_objects
from django.utils.cache import patch_vary_headers
from rest_framework import mixins
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from aistudio.errors import InvalidParameter
from aistudio.paging import NUMBER_NAMES, SIZE_NAMES
from aistudio.renderers import API_ROOT

LIST_PARAMETERS = {*NUMBER_NAMES, *SIZE_NAMES, "sort", "search"}


class ResourceViewSet(GenericViewSet):
    """Resources of one type.

    `filterset_class`, `search_field`, `sort_fields` say what its lists can be asked; `parameters` which query
    parameters an action takes beyond those.
    """

    lookup_value_converter = "int"  # [0-9]+: no other digits, no sign
    http_method_names = ["get", "post", "patch", "delete", "head"]
    queryset: Any = None
    filterset_class: Any = None
    search_field: str = "name_folded"
    sort_fields: ClassVar[dict[str, str]] = {}
    parameters: ClassVar[dict[str, set[str]]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_parameters(request, self.known_parameters())
        self.check_include()

    def known_parameters(self) -> set[str]:
        known = set(self.parameters.get(self.action, ()))
        if self.action == "list":
            known |= LIST_PARAMETERS | {f"filter[{name}]" for name in self.filter_names()}
        if self.speaks_jsonapi:
            known |= {"include", *(f"fields[{serializer.shape().type}]" for serializer in self.related_serializers())}
        return known

    def filter_names(self) -> list[str]:
        return list(self.filterset_class.base_filters) if self.filterset_class else []

    @property
    def speaks_jsonapi(self) -> bool:
        return bool(self.request.accepted_renderer.format == "jsonapi")

    def related_serializers(self) -> Iterator[Any]:
        """The serializer of this view and those of what can be included."""
        own: Any = self.get_serializer_class()
        yield own
        yield from own.included_serializers.values()

    def check_include(self) -> None:
        for serializer in self.related_serializers():
            shape, name = serializer.shape(), f"fields[{serializer.shape().type}]"
            asked = self.request.query_params.get(name, "")
            members = shape.attributes + shape.relations
            if unknown := [field for field in filter(None, asked.split(",")) if field not in members]:
                raise InvalidParameter(name, f"{shape.type} has no {unknown[0]}; it has {', '.join(members)}.")
        own: Any = self.get_serializer_class()
        included = own.included_serializers
        for path in self.include:
            if path not in included:
                raise InvalidParameter("include", f"{path} cannot be included; {', '.join(included)} can.")
            if getattr(included[path].Meta, "for_administrators", False) and not self.user.is_admin:
                raise PermissionDenied(f"Only administrators may include {path}.")

    @property
    def user(self) -> Any:
        """Who is calling: permissions have seen to it that they are signed in."""
        return self.request.user

    @property
    def include(self) -> list[str]:
        """The relations to include with each resource."""
        asked = self.request.query_params.get("include", "")
        return list(filter(None, asked.split(",")))

    def get_queryset(self) -> QuerySet[Any]:
        """What the caller may see, with what its representation shows."""
        serializer: Any = self.get_serializer_class()
        queryset = self.queryset.visible_to(self.user)
        shape = serializer.shape()
        to_one = [name for name in self.include if name in shape.to_one]
        return queryset.select_related(*to_one).prefetch_related(*self.prefetches())

    def prefetches(self) -> list[Prefetch]:
        """The relations to many that the representation shows, as far as the caller may see them."""
        return []

    def save(self, serializer: Any) -> None:
        """Store it whole, or say what was wrong: also when someone else was faster."""
        try:
            with transaction.atomic():
                serializer.save()
                prefetch_related_objects([serializer.instance], *self.prefetches())
        except IntegrityError:
            serializer.run_validation(serializer.initial_data)  # what collided is there now, and the validators see it
            raise

    def perform_create(self, serializer: Any) -> None:
        self.save(serializer)

    def perform_update(self, serializer: Any) -> None:
        self.save(serializer)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        own = f"{API_ROOT}{data.serializer.shape().type}/{data.serializer.instance.pk}"
        return {"Location": self.request.build_absolute_uri(own)}

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ("Accept", "Authorization", "Cookie"))
        response["Cache-Control"] = "private, no-cache"
        return response


class CreateReadViewSet(ResourceViewSet, mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin):
    """Create, list and read."""


def check_parameters(request: Request, known: set[str]) -> None:
    """Refuse a query parameter that this endpoint does not have, or that is there twice."""
    for name, values in request.query_params.lists():
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise InvalidParameter(name, f"There is no parameter {name} here. There are: {listed}.", unknown=True)
        if len(values) > 1:
            raise InvalidParameter(name, f"{name} is there {len(values)} times; once is enough.")
