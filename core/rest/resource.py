"""What a resource looks like from outside: the names that parsers, renderers and the description share."""

from dataclasses import dataclass
from functools import cached_property

from inflection import singularize


@dataclass(frozen=True)
class ResourceSchema:
    """The members of a resource: `attributes`, and of its relations those to one and to many resources.

    `on_request` are the relations that are shown only where they are included; `path` is where it is found.
    """

    type: str
    attributes: tuple[str, ...]
    to_one: tuple[str, ...] = ()
    to_many: tuple[str, ...] = ()
    on_request: tuple[str, ...] = ()
    path: str = ""

    @cached_property
    def relations(self) -> tuple[str, ...]:
        return self.to_one + self.to_many

    @cached_property
    def flat_names(self) -> dict[str, str]:
        """Names in a flat body, and the fields they are for: `llm_id` for `llm`, `group_ids` for `groups`."""
        return {
            **{name: name for name in self.attributes},
            **{f"{name}_id": name for name in self.to_one},
            **{f"{singularize(name)}_ids": name for name in self.to_many},
        }

    @cached_property
    def relations_by_any_name(self) -> set[str]:
        return {name for name, field in self.flat_names.items() if field in self.relations} | set(self.relations)
