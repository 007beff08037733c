"""Fields that take exactly the JSON type that they say, and relations by id."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Model
from django.utils.timezone import is_naive
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers as drf
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.relations import MANY_RELATION_KWARGS, ManyRelatedField
from rest_framework_json_api.relations import ResourceRelatedField

from core.characters import INVISIBLE
from core.database.casefold import refuse_control_characters
from core.rest.errors import Conflict
from core.rest.json_schema import OBJECT
from core.rest.resource import LARGEST_INTEGER, ROW_ID, Identifier
from core.rest.visible import visible_by_pk

MOMENT = "This must be a time with its zone, such as 2030-01-31T12:00:00Z."
MAX_RELATED = 1000  # resources that one relation may name in a request


class ExactField(drf.Field):
    """Takes only values of these types, where DRF would convert others."""

    json_types: tuple[type, ...]

    def to_internal_value(self, data: Any) -> Any:
        if type(data) not in self.json_types:
            self.fail("invalid")
        return super().to_internal_value(data)


class CharField(ExactField, drf.CharField):
    json_types = (str,)
    default_error_messages = {"invalid": "This must be a string."}


class ExactNameField(CharField):
    """A name, as NameField of models has it."""

    default_validators = [refuse_control_characters]

    def run_validation(self, data: Any = drf.empty) -> Any:
        is_invisible = isinstance(data, str) and not INVISIBLE.sub("", data).strip()
        return super().run_validation("" if is_invisible else data)


class EmailField(CharField, drf.EmailField):
    default_error_messages = {"invalid": "This must be an e-mail address, such as ada@example.com."}


class IntegerField(ExactField, drf.IntegerField):
    json_types = (int,)
    default_error_messages = {"invalid": "This must be an integer."}


class FloatField(ExactField, drf.FloatField):
    json_types = (int, float)
    default_error_messages = {"invalid": "This must be a number."}


class BooleanField(ExactField, drf.BooleanField):
    json_types = (bool,)
    default_error_messages = {"invalid": "This must be true or false."}


class DateTimeField(ExactField, drf.DateTimeField):
    json_types = (str,)
    default_error_messages = {"invalid": MOMENT}

    def enforce_timezone(self, value: datetime) -> datetime:
        if is_naive(value):
            self.fail("invalid")
        return super().enforce_timezone(value)


@extend_schema_field(OBJECT)
class ObjectField(drf.JSONField):
    """A JSON object. The validators check that it is one."""


class ChoiceField(drf.ChoiceField):
    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise ValidationError(f"This must be one of {', '.join(self.choices)}.", "invalid_choice")
        return data


class ToManyField(ManyRelatedField):
    """A relation to many, whose resources are looked up in one query."""

    child_relation: "RelationField"

    def to_internal_value(self, data: object) -> list[Model]:
        if not isinstance(data, list):
            raise ValidationError("This must be a list.", "invalid")
        if len(data) > MAX_RELATED:
            raise ValidationError(f"At most {MAX_RELATED} can be given at once.", "max_length")
        if not data and not self.allow_empty:
            self.fail("empty")
        return self.child_relation.find(data)


class RelationField(ResourceRelatedField):
    """A relation by id: an integer in the flat dialect, a JSON:API identifier in the other."""

    @classmethod
    def many_init(cls, *args: Any, **kwargs: Any) -> ToManyField:
        options = {key: kwargs[key] for key in MANY_RELATION_KWARGS if key in kwargs}
        kwargs.pop("allow_empty", None)
        return ToManyField(child_relation=cls(*args, **kwargs), **options)

    def to_internal_value(self, data: object) -> Model:
        if isinstance(data, list):
            raise ValidationError("This must be one resource, not a list.", "invalid")
        return self.find([data])[0]

    def find(self, references: Sequence[object]) -> list[Model]:
        """The resources of these references, each once; raises ValidationError naming every one that is missing."""
        keys: dict[int, None] = {}
        errors: list[Any] = []
        for reference in references:
            try:
                keys[self.read_key(reference)] = None
            except ValidationError as error:
                errors += [error.detail] if isinstance(error.detail, dict) else error.detail
        model = self.get_queryset().model
        rows = visible_by_pk(model, [key for key in keys if 0 < key <= LARGEST_INTEGER], self.context["request"].user)
        noun = model._meta.verbose_name
        missing = [key for key in keys if key not in rows]
        errors += [ErrorDetail(f"There is no {noun} with the id {key}.", "does_not_exist") for key in missing]
        if errors:
            raise ValidationError(errors)
        return [rows[key] for key in keys]

    def read_key(self, reference: object) -> int:
        if isinstance(reference, Identifier):
            holder: Any = self.parent if isinstance(self.parent, ManyRelatedField) else self
            expected = holder.parent.included_serializers[holder.field_name].Meta.resource_name
            if reference.type != expected:
                detail = f'The type of this relation is "{expected}".'
                raise Conflict(detail, f"/data/relationships/{holder.field_name}")
            key = reference.id
            if isinstance(key, str) and ROW_ID.fullmatch(key):
                return int(key)
            raise ValidationError("The id must be a string of digits, without leading zeros.", "invalid")
        if type(reference) is not int:
            raise ValidationError("This must be an id: an integer.", "invalid")
        return reference
