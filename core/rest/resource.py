"""What a resource looks like from outside: its members, and what an answer shows of it, in neither media type."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from django.urls import register_converter
from inflection import singularize

LARGEST_INTEGER = 2**63 - 1  # that a column holds

Key = int | str


class RowIdConverter:
    """An id in a path. It has one spelling, so that there is nothing at 007, and is an integer of 64 bits."""

    regex = "0|[1-9][0-9]{0,18}"

    def to_python(self, digits: str) -> int:
        if int(digits) > LARGEST_INTEGER:
            raise ValueError
        return int(digits)

    def to_url(self, key: int) -> str:
        return str(key)


register_converter(RowIdConverter, "row_id")
ROW_ID = re.compile(RowIdConverter.regex)


@dataclass(frozen=True)
class ResourceSchema:
    """The members of a resource: `attributes`, and of its relations those to one and to many resources.

    `related_types` has the type that each relation leads to. `on_request` are the relations that are shown only where
    they are included. `path` is where the resources are, below the API's root; empty if they have no URL.
    """

    type: str
    attributes: tuple[str, ...]
    to_one: tuple[str, ...] = ()
    to_many: tuple[str, ...] = ()
    related_types: Mapping[str, str] = field(default_factory=dict)
    on_request: tuple[str, ...] = ()
    path: str = ""

    @cached_property
    def relations(self) -> tuple[str, ...]:
        return self.to_one + self.to_many

    @cached_property
    def flat_names(self) -> dict[str, str]:
        """The fields by their names in a flat body: `llm_id` stands for `llm`, `group_ids` for `groups`."""
        return {
            **{name: name for name in self.attributes},
            **{f"{name}_id": name for name in self.to_one},
            **{f"{singularize(name)}_ids": name for name in self.to_many},
        }


class Identifier(NamedTuple):
    """A JSON:API resource identifier, as a client sent it."""

    type: object
    id: object


class Resource(NamedTuple):
    """What an answer shows of a resource.

    `attributes` are values that JSON can have, `to_one` the keys of related resources, `to_many` related resources.
    `links` are the relations that have a URL of their own.
    """

    schema: ResourceSchema
    id: str
    path: str
    attributes: dict[str, object]
    to_one: dict[str, Key | None]
    to_many: dict[str, list["Resource"]]
    links: Sequence[str]


class Representation(NamedTuple):
    """What a serializer gives to a renderer: one resource, or many.

    `included` are the resources that `include` asked for, None if it asked for none. `query` is the query string of
    the request. `is_wrapped` says that a flat list stands in `{"data": [...]}`.
    """

    resources: list[Resource]
    is_many: bool = False
    included: list[Resource] | None = None
    query: str = ""
    is_wrapped: bool = False


class Selection(NamedTuple):
    """What the query of a request selects: the relations to include, and by type the members to show."""

    include: tuple[str, ...] = ()
    fields: Mapping[str, frozenset[str]] = {}
    query: str = ""


EVERYTHING = Selection()
