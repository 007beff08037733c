"""The base of every resource's serializer: exact JSON types, relations by id, nothing silently ignored.

One serializer serves both media types: parsers give it fields, and it gives a `Representation` to renderers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, ClassVar

import orjson
from django.db import models
from rest_framework import serializers as drf
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.validators import ProhibitSurrogateCharactersValidator, UniqueValidator
from rest_framework_json_api.serializers import IncludedResourcesValidationMixin, ModelSerializer
from rest_framework_json_api.utils import get_resource_type_from_serializer

from core.database.casefold import NameField, UniqueCasefolded, fold, taken_message
from core.rest.fields import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    EmailField,
    ExactNameField,
    FloatField,
    IntegerField,
    RelationField,
    ToManyField,
)
from core.rest.renderers import OPTIONS, flat_object
from core.rest.resource import EVERYTHING, Identifier, Representation, Resource, ResourceSchema, Selection
from core.rest.visible import Caller, prefetch_visible

Read = Callable[[Any], object]
SerializerClass = type["PlainSerializer"]

# fields whose values renderers write as they are; times become RFC 3339 there
WRITTEN_AS_THEY_ARE = (
    drf.CharField,
    drf.IntegerField,
    drf.FloatField,
    drf.BooleanField,
    drf.JSONField,
    drf.DictField,
    drf.DateTimeField,
    drf.ChoiceField,
)


@dataclass(frozen=True)
class UnusedName:
    """Validates that no other row has this name."""

    model: type[models.Model]
    constraint: UniqueCasefolded
    requires_context: ClassVar = True  # to be called with the field, too

    def __call__(self, value: str, field: drf.Field) -> None:
        if self.constraint.taken(self.model, fold(value), getattr(field.parent.instance, "pk", None)):
            raise ValidationError(taken_message(self.model, str(field.source)), "unique")


class PlainSerializer(drf.Serializer):
    """A resource: what every serializer does.

    `Meta` has `resource_name` (the type) and `fields`; `included_serializers` has the resources of the relations. Also
    in Meta, where needed: `permission` (to see these resources at all), `restricted` (fields, and the permission to see
    each), `on_request` (relations that are shown only where they are included), `linked` (relations that have a URL of
    their own), `path` (below the API's root, if it is not the type; "" for no URL), `key` (the attribute that is the
    id, if it is not the primary key), `wrapped` (a flat list of them is `{"data": [...]}`).

    The context may have a `view`, whose `selection` of members is shown. It must have the `request` if there is a
    relation to many.
    """

    included_serializers: ClassVar[Mapping[str, SerializerClass]] = {}
    Meta: Any

    def get_fields(self) -> dict[str, drf.Field]:
        fields = super().get_fields()
        for field in fields.values():
            # the parsers refuse lone surrogates everywhere; this validator looks at each character of a long text
            if isinstance(field, drf.CharField):
                field.validators = [
                    item for item in field.validators if not isinstance(item, ProhibitSurrogateCharactersValidator)
                ]
        return fields

    # representation

    @property
    def data(self) -> Representation:  # type: ignore[override]
        return self.represent([self.instance])

    def represent(self, rows: Sequence[Any], *, is_many: bool = False) -> Representation:
        """What an answer shows of these rows, with the resources that the selection includes."""
        selection: Selection = getattr(self.context.get("view"), "selection", EVERYTHING)
        include, schema = selection.include, resource_schema(type(self))
        resources, related = self.resources(rows, include)
        included: dict[tuple[str, str], Resource] = {}
        for name in include:
            included |= {(item.schema.type, item.id): item for item in related[name].values()}
        for resource in resources:
            included.pop((schema.type, resource.id), None)
        is_wrapped = getattr(self.Meta, "wrapped", False)
        return Representation(
            resources, is_many, list(included.values()) if include else None, selection.query, is_wrapped
        )

    def resources(
        self, rows: Sequence[Any], include: Sequence[str]
    ) -> tuple[list[Resource], dict[str, dict[int, Resource]]]:
        """The resources of these rows; and by relation the related ones that they show or include, by key."""
        schema, linked = resource_schema(type(self)), getattr(self.Meta, "linked", ())
        members = self.members_to_show
        to_one = [name for name in schema.to_one if name in members]
        to_many = [n for n in schema.to_many if n in include or (n not in schema.on_request and n in members)]
        prefetched: dict[str, dict[int, list[models.Model]]] = {}
        related: dict[str, dict[int, Resource]] = {}
        for name in to_many:
            prefetched[name] = prefetch_visible(rows, name, self.user)
            related[name] = self.related_resources(name, (item for row in rows for item in prefetched[name][row.pk]))
        for name in include:
            if name in schema.to_one:
                related[name] = self.related_resources(name, (getattr(row, name) for row in rows))
        to_many = [name for name in to_many if name in members]
        resources = [
            Resource(
                schema,
                self.key(row),
                self.path(row),
                self.to_representation(row),
                {name: getattr(row, f"{name}_id") for name in to_one},
                {name: [related[name][item.pk] for item in prefetched[name][row.pk]] for name in to_many},
                [name for name in linked if name in members],
            )
            for row in rows
        ]
        return resources, related

    def related_resources(self, relation: str, rows: Iterator[Any]) -> dict[int, Resource]:
        """Each of these related rows is represented once, as a resource of the same answer."""
        unique = {row.pk: row for row in rows if row is not None}
        if not unique:
            return {}
        resources, _ = self.included_serializers[relation](context=self.context).resources([*unique.values()], ())
        return dict(zip(unique, resources, strict=True))

    def key(self, instance: Any) -> str:
        """The id by which the API knows an instance."""
        return str(getattr(instance, getattr(self.Meta, "key", "pk")))

    def path(self, instance: Any) -> str:
        """The path of an instance below the API's root; "" if it has no URL."""
        path = resource_schema(type(self)).path
        return path and f"{path}/{self.key(instance)}"

    def to_representation(self, instance: Any) -> dict[str, object]:
        """The attributes to show, with values that JSON can have."""
        return {name: read(instance) for name, read in self.readers}

    @cached_property
    def readers(self) -> list[tuple[str, Read]]:
        """The attributes to show to the user, with a function from an instance to the value of each."""
        return [(name, read) for name, read in attribute_readers(type(self)) if name in self.members_to_show]

    @cached_property
    def members_to_show(self) -> set[str]:
        """The attributes and relations that the user has the permission to see, if a sparse fieldset selects them."""
        schema, restricted = resource_schema(type(self)), getattr(self.Meta, "restricted", {})
        hidden = {name for name, permission in restricted.items() if not (self.user and self.user.may(permission))}
        names = {*schema.attributes, *schema.relations, *getattr(self.Meta, "linked", ())} - hidden
        selection: Selection = getattr(self.context.get("view"), "selection", EVERYTHING)
        selected = selection.fields.get(self.Meta.resource_name)
        return names if selected is None else names & selected

    @property
    def user(self) -> Caller:
        return getattr(self.context.get("request"), "user", None)  # type: ignore[return-value]

    # validation

    def run_validation(self, data: Any = drf.empty) -> Any:
        """Return the validated values. The ValidationError has the JSON pointer of each wrong member as key."""
        pointers = getattr(data, "pointers", {})
        try:
            return super().run_validation(data)
        except ValidationError as error:
            if not isinstance(error.detail, dict):
                raise
            raise ValidationError({pointers.get(name, name): detail for name, detail in error.detail.items()}) from None

    def to_internal_value(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the validated values. Raises one ValidationError with all errors of the body.

        Many clients send a whole resource back to change a part of it: what is unchanged is as if it were not sent.
        """
        fields = self.fields
        errors: dict[str, Any] = dict(getattr(data, "problems", {}))
        shown = getattr(data, "shown", {})
        unchanged, as_shown = self.unchanged_members(data, shown) if self.instance else (set(), set())
        for name in data:
            if name not in fields:
                errors[name] = ErrorDetail(f"There is no {name} here.", "unknown_attribute")
            elif fields[name].read_only and name not in unchanged:
                errors[name] = ErrorDetail(f"{name} is set by the server; leave it out.", "read_only")
        for name in shown.keys() - as_shown:
            detail = f"{name} is only shown, and this is not what is shown: send the ids to change it."
            errors[f"/data/attributes/{name}"] = ErrorDetail(detail, "read_only")
        try:
            values = super().to_internal_value({name: data[name] for name in data if name not in unchanged})
        except ValidationError as error:
            assert isinstance(error.detail, dict)
            known = {name for name, pointer in getattr(data, "pointers", {}).items() if pointer in errors}
            errors |= {name: detail for name, detail in error.detail.items() if name not in known}
        if errors:
            raise ValidationError(errors)
        return values

    def unchanged_members(self, data: Mapping[str, Any], shown: Mapping[str, Any]) -> tuple[set[str], set[str]]:
        """Which members of the body are as a GET answers them; and which of the relations that it shows otherwise."""
        schema = resource_schema(type(self))
        selection = Selection(fields={schema.type: frozenset({*data, *shown})})
        context = {"request": self.context.get("request"), "view": SimpleNamespace(selection=selection)}
        (resource,), _ = type(self)(context=context).resources([self.instance], ())
        types = schema.related_types
        now: dict[str, list[object]] = {name: [value] for name, value in resource.attributes.items()}
        now |= {name: [key, key and Identifier(types[name], str(key))] for name, key in resource.to_one.items()}
        for name, others in resource.to_many.items():
            now[name] = [[Identifier(types[name], other.id) for other in others]]
        unchanged = {name for name in data if as_json(data[name]) in map(as_json, now.get(name, ()))}
        flat: Any = flat_object(resource, {})["attributes"]
        return unchanged, {name for name in shown if as_json(flat.get(name)) == as_json(shown[name])}


class ResourceSerializer(PlainSerializer, ModelSerializer):
    """A resource that is a row of `Meta.model`."""

    serializer_related_field = RelationField
    serializer_choice_field = ChoiceField
    serializer_field_mapping = {
        **ModelSerializer.serializer_field_mapping,
        models.CharField: CharField,
        NameField: ExactNameField,
        models.TextField: CharField,
        models.EmailField: EmailField,
        models.IntegerField: IntegerField,
        models.BigIntegerField: IntegerField,
        models.PositiveSmallIntegerField: IntegerField,
        models.FloatField: FloatField,
        models.BooleanField: BooleanField,
        models.DateTimeField: DateTimeField,
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        # without the mixin's check of `include`, which knows only one serializer for a view: the view checks it
        super(IncludedResourcesValidationMixin, self).__init__(*args, **options)

    def build_standard_field(
        self, field_name: str, model_field: models.Field
    ) -> tuple[type[drf.Field], dict[str, Any]]:
        field_class, options = super().build_standard_field(field_name, model_field)
        if model_field.blank and not model_field.null and not options.get("read_only"):
            options["allow_null"] = True  # null clears
        for constraint in self.Meta.model._meta.constraints:
            if not isinstance(constraint, UniqueCasefolded):
                continue
            if constraint.folded_field(self.Meta.model).source == field_name:
                others = [item for item in options.get("validators", []) if not isinstance(item, UniqueValidator)]
                options["validators"] = [*others, UnusedName(self.Meta.model, constraint)]
        return field_class, options

    def to_internal_value(self, data: Mapping[str, Any]) -> dict[str, Any]:
        values = super().to_internal_value(data)
        for name, value in values.items():
            if value is None and not (field := self.Meta.model._meta.get_field(name)).null:
                values[name] = field.get_default()
        return values


def as_json(value: object) -> bytes:
    """The JSON of a value, to compare: true is not 1, and 1.0 is not 1."""
    return orjson.dumps(value, default=list, option=OPTIONS | orjson.OPT_SORT_KEYS)


@cache
def resource_schema(serializer: SerializerClass) -> ResourceSchema:
    """The names of the attributes and relations of a serializer's resource. Computed once."""
    fields, meta = serializer().fields, serializer.Meta
    to_one = tuple(name for name, field in fields.items() if isinstance(field, RelationField))
    to_many = tuple(name for name, field in fields.items() if isinstance(field, ToManyField))
    return ResourceSchema(
        type=get_resource_type_from_serializer(serializer),
        attributes=tuple(name for name, _ in fields.items() if name not in to_one + to_many),
        to_one=to_one,
        to_many=to_many,
        related_types={
            name: get_resource_type_from_serializer(one) for name, one in serializer.included_serializers.items()
        },
        on_request=tuple(getattr(meta, "on_request", ())),
        path=getattr(meta, "path", meta.resource_name),
    )


@cache
def attribute_readers(serializer: SerializerClass) -> list[tuple[str, Read]]:
    """For each readable attribute a function from an instance to its value: found once, where DRF does for each row."""
    fields, schema = serializer().fields, resource_schema(serializer)
    return [(name, field_reader(fields[name])) for name in schema.attributes if not fields[name].write_only]


def field_reader(field: drf.Field) -> Read:
    """A function from an instance to the value of this field, as JSON has it."""
    if isinstance(field, WRITTEN_AS_THEY_ARE) and type(field).get_attribute is drf.Field.get_attribute:
        return attrgetter(str(field.source))
    return lambda instance: field.to_representation(field.get_attribute(instance))
