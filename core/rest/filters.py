"""What a client can ask of a list: `filter[...]`, `search`, `sort`. Whatever is not declared is refused."""

from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive
from django_filters import rest_framework as django_filters
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from core.database.casefold import fold
from core.rest.errors import InvalidParameter
from core.rest.fields import MOMENT
from core.rest.json_schema import Schema, query_parameter
from core.rest.resource import LARGEST_INTEGER

LONGEST_SEARCH = 200
NO_NUL = r"^[^\u0000]*$"
ID_SCHEMA = {"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER}
NOT_BLANK = {"type": "string", "pattern": r"^[^\u0000\s]+$"}


class NameFilter(django_filters.CharFilter):
    """Equal to a name, as names are compared."""

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        return super().filter(qs, fold(value))


class RowIdField(forms.IntegerField):
    default_validators = [MinValueValidator(0), MaxValueValidator(LARGEST_INTEGER)]


class IdFilter(django_filters.Filter):
    """Related to the resource with this id."""

    field_class = RowIdField


class MomentField(forms.CharField):
    def to_python(self, value: object) -> Any:
        text = super().to_python(value)
        if not text:  # this filter was not sent
            return None
        try:
            moment = parse_datetime(text)
        except ValueError:  # such as the 30th of February
            moment = None
        if moment is None or is_naive(moment):
            raise ValidationError(MOMENT)
        return moment


class MomentFilter(django_filters.Filter):
    """Compared with a moment, which has a zone."""

    field_class = MomentField


class BooleanFilter(django_filters.TypedChoiceFilter):
    """`true` or `false`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(*args, choices=choices, coerce=lambda value: value == "true", **options)


SCHEMAS: dict[type, Schema] = {
    IdFilter: ID_SCHEMA,
    BooleanFilter: {"type": "boolean"},
    MomentFilter: {"type": "string", "format": "date-time"},
}


class FilterBackend(BaseFilterBackend):
    """`filter[name]=value` for each filter of the view's `filterset_class`."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        data = {name[7:-1]: str(value) for name, value in request.query_params.items() if name.startswith("filter[")}
        if not data:
            return queryset
        for name, value in data.items():
            if not value.strip() or "\0" in value:
                raise InvalidParameter(f"filter[{name}]", f"filter[{name}] needs a value.")
        filterset = view.filterset_class(data, queryset=queryset, request=request)
        if not filterset.is_valid():
            name, errors = next(iter(filterset.errors.items()))
            raise InvalidParameter(f"filter[{name}]", errors[0])
        return filterset.qs


class SearchBackend(BaseFilterBackend):
    """`search=words`: each word stands in one of the view's `search_fields`, which hold casefolded names."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        text = request.query_params.get("search", "")
        if len(text) > LONGEST_SEARCH or "\0" in text:
            raise InvalidParameter("search", f"search must have at most {LONGEST_SEARCH} characters, none of them NUL.")
        for word in text.split():
            fields = [Q(**{f"{field}__contains": fold(word)}) for field in view.search_fields]
            queryset = queryset.filter(reduce(or_, fields, view.search_elsewhere(word)))
        return queryset


class SortBackend(BaseFilterBackend):
    """`sort=name,-created_at` over the view's `sort_fields` (names to columns) and `id`, which orders equals."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        fields = {"id": "pk", **view.sort_fields}
        sort = request.query_params.get("sort")
        if sort is None:
            return queryset.order_by(*queryset.model._meta.ordering)
        order = []
        for term in sort.split(","):
            name = term.removeprefix("-")
            if name not in fields:
                raise InvalidParameter("sort", f"{name!r} is no field to sort by; there are {', '.join(fields)}.")
            order.append(("-" if term.startswith("-") else "") + fields[name])
        return queryset.order_by(*order, "pk")


def list_parameters(view: Any) -> list[Schema]:
    """The query parameters of a view's lists, for the description of the API."""
    parameters = [
        query_parameter(f"filter[{name}]", SCHEMAS.get(type(item), NOT_BLANK), f"Only those with this {name}.")
        for name, item in (view.filterset_class.base_filters if view.filterset_class else {}).items()
    ]
    if view.search_fields:
        schema = {"type": "string", "maxLength": LONGEST_SEARCH, "pattern": NO_NUL}
        text = f"Only those whose {view.searched} has each of these words."
        parameters.append(query_parameter("search", schema, text))
    if SortBackend in view.filter_backends:
        one = f"-?({'|'.join(['id', *view.sort_fields])})"
        schema = {"type": "string", "pattern": f"^{one}(,{one})*$"}
        parameters.append(query_parameter("sort", schema, "Fields to sort by; - before one reverses it."))
    return parameters
