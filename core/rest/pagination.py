"""Pages of lists: `page` and `page_size`, or JSON:API's `page[number]` and `page[size]`.

Lists that grow while a client reads them have `after` and `page_size`, or `page[after]` and `page[size]`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

from django.core.cache import cache
from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from core.rest.errors import InvalidParameter
from core.rest.resource import LARGEST_INTEGER

DEFAULT_SIZE = 10
LARGEST_SIZE = 100
LARGE_TOTAL = 10_000  # rows
TOTAL_AGE = 10  # seconds for which a counted total is used again
NUMBER_NAMES = ("page", "page[number]")
SIZE_NAMES = ("page_size", "page[size]")
AFTER_NAMES = ("after", "page[after]")
SIZES = f"Resources on a page, {DEFAULT_SIZE} by default; more than {LARGEST_SIZE} is {LARGEST_SIZE}"


class PageMembers(TypedDict):
    """The members of a JSON:API document that say where a list stands among its pages."""

    links: dict[str, str | None]
    meta: Mapping[str, object]


class Pagination(BasePagination):
    """What both kinds have in common. `about` describes the parameters, each of which has two names."""

    about: ClassVar[dict[tuple[str, str], str]]
    headers: dict[str, str]  # of the answer; set by `paginate_queryset`

    def get_paginated_response(self, data: object) -> Response:
        return Response(data, headers=self.headers)


class PageNumberPagination(Pagination):
    """One page of a queryset, and how many there are. A page past the end is empty."""

    about: ClassVar = {NUMBER_NAMES: "The page; the first is 1, and comes by default", SIZE_NAMES: SIZES}

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: object = None) -> list[Any]:  # type: ignore[override]
        self.number_name, self.number = read_parameter(request, NUMBER_NAMES, 1)
        _, size = read_parameter(request, SIZE_NAMES, DEFAULT_SIZE)
        self.size = min(size, LARGEST_SIZE)
        self.url = request.build_absolute_uri().replace("[", "%5B").replace("]", "%5D")
        self.count = self.total(queryset, request)
        self.last = max(1, -(-self.count // self.size))
        self.headers = {"X-Total-Count": str(self.count), "X-Total-Pages": str(self.last)}
        start = (self.number - 1) * self.size
        return list(queryset[start : start + self.size]) if start < self.count else []

    def total(self, queryset: QuerySet, request: Request) -> int:
        """How many rows there are. A large number, which takes long to count, may be some seconds old."""
        filters = sorted(item for item in request.query_params.items() if item[0] not in NUMBER_NAMES + SIZE_NAMES)
        key = f"total:{hashlib.sha256(repr((request.user.pk, request.path, filters)).encode()).hexdigest()}"
        count: int | None = cache.get(key)
        if count is None:
            count = queryset.count()
            if count > LARGE_TOTAL:
                cache.set(key, count, TOTAL_AGE)
        return count

    def page_members(self) -> PageMembers:
        numbers = {
            "first": 1,
            "last": self.last,
            "prev": min(self.number - 1, self.last) if self.number > 1 else None,
            "next": self.number + 1 if self.number < self.last else None,
        }
        links = {
            name: None if number is None else replace_query_param(self.url, self.number_name, number)
            for name, number in numbers.items()
        }
        meta = {"pagination": {"page": self.number, "pages": self.last, "count": self.count}}
        return {"links": {"self": self.url, **links}, "meta": meta}


class CursorPagination(Pagination):
    """Pages from the newest row to the oldest. A row that is added meanwhile does not shift them."""

    about: ClassVar = {AFTER_NAMES: "Where the page begins, as the link to the next page has it", SIZE_NAMES: SIZES}

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: object = None) -> list[Any]:  # type: ignore[override]
        self.after_name, after = read_parameter(request, AFTER_NAMES, 0)
        _, size = read_parameter(request, SIZE_NAMES, DEFAULT_SIZE)
        size = min(size, LARGEST_SIZE)
        self.url = request.build_absolute_uri().replace("[", "%5B").replace("]", "%5D")
        if after > LARGEST_INTEGER:
            raise InvalidParameter(self.after_name, f"{self.after_name} must be what the link to the next page has.")
        older = queryset.filter(pk__lt=after) if after else queryset
        rows = list(older.order_by("-pk")[: size + 1])
        self.next = replace_query_param(self.url, self.after_name, rows[size - 1].pk) if len(rows) > size else None
        self.headers = {"Link": f'<{self.next}>; rel="next"'} if self.next else {}
        return rows[:size]

    def page_members(self) -> PageMembers:
        first = remove_query_param(self.url, self.after_name)
        return {"links": {"self": self.url, "first": first, "prev": None, "next": self.next}, "meta": {}}


def read_parameter(request: Request, names: tuple[str, str], default: int) -> tuple[str, int]:
    """The name that the client used, and its value: an integer from 1 up."""
    used = [name for name in names if name in request.query_params]
    if not used:
        return names[request.accepted_renderer.format == "jsonapi"], default
    if len(used) > 1:
        raise InvalidParameter(used[1], f"{used[0]} and {used[1]} say the same; use one of them.")
    value = request.query_params[used[0]]
    if not (value.isascii() and value.isdigit() and len(value) <= 40 and int(value) > 0):
        raise InvalidParameter(used[0], f"{used[0]} must be an integer from 1 up.")
    return used[0], int(value)
