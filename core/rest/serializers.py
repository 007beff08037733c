"""The base of every resource's serializer: exact JSON types, relations by id, nothing silently ignored.

One serializer per model serves both media types; how it is written on the wire is the parsers' and renderers' affair.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, ClassVar

import orjson
from django.db import models
from rest_framework import serializers as drf
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.relations import MANY_RELATION_KWARGS, ManyRelatedField
from rest_framework.validators import ProhibitSurrogateCharactersValidator, UniqueValidator
from rest_framework_json_api.relations import ResourceRelatedField
from rest_framework_json_api.serializers import IncludedResourcesValidationMixin, ModelSerializer

from core.database.casefold import UniqueCasefolded, taken_message
from core.rest.errors import Conflict
from core.rest.parsers import LARGEST_INTEGER, Identifier
from core.rest.renderers import OPTIONS
from core.rest.resource import ResourceSchema
from core.rest.visible import found, related

MAX_RELATED = 1000  # resources that one relation may name in a request


class CharField(drf.CharField):
    default_error_messages = {"invalid": "This must be a string."}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # the parsers refuse them everywhere, and this one looks at each character of a long text by itself
        self.validators = [
            item for item in self.validators if not isinstance(item, ProhibitSurrogateCharactersValidator)
        ]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class EmailField(CharField, drf.EmailField):
    default_error_messages = {"invalid": "This must be an e-mail address, such as ada@example.com."}


class IntegerField(drf.IntegerField):
    default_error_messages = {"invalid": "This must be an integer."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class FloatField(drf.FloatField):
    default_error_messages = {"invalid": "This must be a number."}

    def to_internal_value(self, data: Any) -> float:
        if type(data) not in (int, float):
            self.fail("invalid")
        return super().to_internal_value(data)


class BooleanField(drf.BooleanField):
    default_error_messages = {"invalid": "This must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class DateTimeField(drf.DateTimeField):
    default_error_messages = {"invalid": "This must be a time such as 2030-01-31T12:00:00Z."}

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            self.fail("invalid", format="RFC 3339")
        return super().to_internal_value(value)


class ChoiceField(drf.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            raise ValidationError(f"This must be one of {', '.join(self.choices)}.", "invalid_choice")
        return data


# values that the renderers write as they are; moments become RFC 3339 there
READ_AS_THEY_ARE = (
    drf.CharField,
    drf.IntegerField,
    drf.FloatField,
    drf.BooleanField,
    drf.JSONField,
    drf.DictField,
    drf.DateTimeField,
    drf.ChoiceField,
)


class ToMany(ManyRelatedField):
    """A relation to many, whose resources are looked up in one query."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list):
            raise ValidationError("This must be a list.", "invalid")
        if len(data) > MAX_RELATED:
            raise ValidationError(f"At most {MAX_RELATED} can be given at once.", "max_length")
        if not data and not self.allow_empty:
            self.fail("empty")
        relation: Any = self.child_relation
        return relation.find(data)


class RelationField(ResourceRelatedField):
    """A relation by id: an integer in the flat dialect, a JSON:API identifier in the other."""

    @classmethod
    def many_init(cls, *args: Any, **kwargs: Any) -> ToMany:
        options = {key: kwargs[key] for key in MANY_RELATION_KWARGS if key in kwargs}
        kwargs.pop("allow_empty", None)
        return ToMany(child_relation=cls(*args, **kwargs), **options)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list):
            raise ValidationError("This must be one resource, not a list.", "invalid")
        return self.find([data])[0]

    def find(self, references: list[Any]) -> list[Any]:
        """The resources of these references, each once; raises ValidationError naming every one that is not there."""
        keys: dict[int, None] = {}
        errors: list[Any] = []
        for reference in references:
            try:
                keys[self.key_of(reference)] = None
            except ValidationError as error:
                errors += error.detail
        model = self.get_queryset().model
        there = found(model, [key for key in keys if 0 < key <= LARGEST_INTEGER], self.context["request"].user)
        noun = model._meta.verbose_name
        missing = [key for key in keys if key not in there]
        errors += [ErrorDetail(f"There is no {noun} with the id {key}.", "does_not_exist") for key in missing]
        if errors:
            raise ValidationError(errors)
        return [there[key] for key in keys]

    def key_of(self, reference: Any) -> int:
        if isinstance(reference, Identifier):
            if reference.type != resource_type(self):
                name = self.field_name or getattr(self.parent, "field_name", "")
                raise Conflict(f'The type of this relation is "{resource_type(self)}".', f"/data/relationships/{name}")
            if (
                isinstance(reference.id, str)
                and reference.id.isascii()
                and reference.id.isdigit()
                and len(reference.id) < 20
            ):
                return int(reference.id)
            raise ValidationError("The id must be a string of digits.", "invalid")
        if type(reference) is not int:
            raise ValidationError("This must be an id: an integer.", "invalid")
        return reference


def resource_type(field: RelationField) -> str:
    """The type of the resources that a relation leads to."""
    holder: Any = field.parent if isinstance(field.parent, ManyRelatedField) else field
    serializer = holder.parent.included_serializers[holder.field_name]
    return str(serializer.Meta.resource_name)


class Unused:
    """Validates that no other row has this name."""

    requires_context = True

    def __init__(self, model: type[models.Model], constraint: UniqueCasefolded) -> None:
        self.model, self.constraint = model, constraint

    def __call__(self, value: str, field: Any) -> None:
        if self.constraint.taken(self.model, value, getattr(field.parent.instance, "pk", None)):
            raise ValidationError(taken_message(self.model, field.source), "unique")


class PlainSerializer(drf.Serializer):
    """A resource: what every serializer does.

    `Meta` has `resource_name` (its type) and `fields`; `included_serializers` the resources of its relations. Also in
    Meta, where needed: `administrators_read` (fields that only administrators are shown), `for_administrators` (the
    whole resource is), `on_request` (relations that are shown only where they are included), `linked` (those with an
    endpoint of their own), `path` (where it is, below the API's root, if not at its type; "" for nowhere), `key` (the
    attribute that is its id, if not the primary key), `wrapped` (a flat list of it is `{"data": [...]}`).
    """

    included_serializers: ClassVar[Mapping[str, Any]] = {}
    Meta: Any

    @classmethod
    def shape(cls) -> ResourceSchema:
        return shape_of(cls)

    @classmethod
    def for_administrators(cls) -> bool:
        return getattr(cls.Meta, "for_administrators", False)

    @classmethod
    def key(cls, instance: Any) -> str:
        """The id by which the API knows an instance."""
        return str(getattr(instance, getattr(cls.Meta, "key", "pk")))

    def path(self, instance: Any) -> str:
        """Where an instance is, below the API's root; "" for nowhere."""
        path = self.shape().path
        return path and f"{path}/{self.key(instance)}"

    def included(self, relation: str) -> Any:
        """The serializer of a related resource, made once."""
        made = self.__dict__.setdefault("_included", {})
        if relation not in made:
            made[relation] = self.included_serializers[relation](context=self.context)
        return made[relation]

    @cached_property
    def linked_relations(self) -> tuple[str, ...]:
        """The relations whose own endpoint the caller may ask."""
        linked = getattr(self.Meta, "linked", ())
        return tuple(name for name in linked if name not in self.hidden and self.is_asked_for(name))

    @cached_property
    def hidden(self) -> set[str]:
        """The fields that only administrators are shown, where the caller is none."""
        user = getattr(self.context.get("request"), "user", None)
        return set() if getattr(user, "is_admin", False) else set(getattr(self.Meta, "administrators_read", ()))

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The values by field: of attributes ready for JSON, of relations the key, or the instances."""
        return {name: read(instance) for name, read in self.readers}

    @cached_property
    def readers(self) -> tuple[tuple[str, Any], ...]:
        """The fields to show to the caller, asked once for all rows."""
        included = getattr(self.context.get("view"), "include", ())
        hidden = self.hidden | (set(self.shape().on_request) - set(included))
        return tuple(
            (name, read) for name, read in readers_of(type(self)) if name not in hidden and self.is_asked_for(name)
        )

    def is_asked_for(self, name: str) -> bool:
        """Whether a sparse fieldset, if there is one, has this member."""
        query = getattr(self.context.get("view"), "query", {})
        asked = query.get(f"fields[{self.shape().type}]")
        return asked is None or name in asked.split(",")

    def to_internal_value(self, data: Mapping[str, Any]) -> Any:
        """Validated values; every error of the body in one ValidationError."""
        fields = self.fields
        errors: dict[str, Any] = dict(getattr(data, "problems", {}))
        for name in data:
            if name not in fields:
                errors[name] = ErrorDetail(f"There is no {name} here.", "unknown_attribute")
            elif fields[name].read_only and not self.is_as_shown(name, data[name]):
                errors[name] = ErrorDetail(f"{name} is set by the server; leave it out.", "read_only")
        try:
            values = super().to_internal_value(data)
        except ValidationError as error:
            known = {name for name, pointer in getattr(data, "pointers", {}).items() if pointer in errors}
            found: Any = error.detail
            errors |= {name: detail for name, detail in found.items() if name not in known}
        if errors:
            raise ValidationError(errors)
        return values

    def is_as_shown(self, name: str, value: Any) -> bool:
        """Whether a client sends back what it was shown: many send a resource whole to change a part of it."""
        read = dict(self.readers).get(name) if self.instance and name in self.shape().attributes else None
        return read is not None and orjson.loads(orjson.dumps(read(self.instance), option=OPTIONS)) == value


class ResourceSerializer(PlainSerializer, ModelSerializer):
    """A resource that is a row: `Meta` has its `model`, too."""

    serializer_related_field = RelationField
    serializer_choice_field = ChoiceField
    serializer_field_mapping = {
        **ModelSerializer.serializer_field_mapping,
        models.CharField: CharField,
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
        # past the check of `include`, which knows only one serializer for a view: ours is the view's own
        super(IncludedResourcesValidationMixin, self).__init__(*args, **options)

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        field_class, options = super().build_standard_field(field_name, model_field)
        if model_field.blank and not model_field.null and not options.get("read_only"):
            options["allow_null"] = True  # null clears
        for constraint in self.Meta.model._meta.constraints:
            if isinstance(constraint, UniqueCasefolded) and constraint.source(self.Meta.model) == field_name:
                kept = [item for item in options.get("validators", []) if not isinstance(item, UniqueValidator)]
                options["validators"] = [*kept, Unused(self.Meta.model, constraint)]
        return field_class, options

    def to_internal_value(self, data: Mapping[str, Any]) -> Any:
        values = super().to_internal_value(data)
        for name, value in values.items():
            if value is None and not (field := self.Meta.model._meta.get_field(name)).null:
                values[name] = field.get_default()
        return values


@cache
def shape_of(serializer_class: Any) -> ResourceSchema:
    fields = serializer_class().fields
    to_one = tuple(name for name, field in fields.items() if isinstance(field, RelationField))
    to_many = tuple(name for name, field in fields.items() if isinstance(field, ToMany))
    attributes = tuple(name for name in fields if name not in to_one + to_many)
    meta = serializer_class.Meta
    kind, on_request = meta.resource_name, tuple(getattr(meta, "on_request", ()))
    return ResourceSchema(kind, attributes, to_one, to_many, on_request, getattr(meta, "path", kind))


@cache
def readers_of(serializer_class: Any) -> tuple[tuple[str, Any], ...]:
    """For each readable field a function from an instance to its value: what DRF does per row, decided once."""
    fields = serializer_class().fields.items()
    return tuple((name, reader(field)) for name, field in fields if not field.write_only)


def reader(field: Any) -> Any:
    source: str = field.source
    if isinstance(field, ToMany):
        return lambda instance: related(instance, source)
    if isinstance(field, RelationField):
        return attrgetter(f"{source}_id")
    if isinstance(field, READ_AS_THEY_ARE) and type(field).get_attribute is drf.Field.get_attribute:
        return attrgetter(source)
    return lambda instance: field.to_representation(field.get_attribute(instance))
