import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from core.rest.fields import CharField, ObjectField
from core.rest.serializers import PlainSerializer, ResourceSerializer
from llms.models import KEY_NEEDED, LLM, LONGEST_STRING, MOST_STRINGS, LLMSettings, json_object, string_list

KEY_PLACEHOLDER = "********"
STRING_LIST = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_STRING},
    "maxItems": MOST_STRINGS,
}


def key_characters(value: str) -> None:
    """Raise ValidationError if this has characters that no key has.

    This is no RegexValidator: its pattern would make the description of a field that may be empty a choice of two
    schemas, which generators of clients do not know how to name.
    """
    if not re.fullmatch("[!-~]*", value):
        raise ValidationError("A key has no spaces, line ends or letters beyond ASCII.")


class KeyField(CharField):
    """A key that can be written but not read: a stored key is shown as a placeholder."""

    default_validators = [key_characters]

    def get_attribute(self, instance: LLM) -> str:
        return KEY_PLACEHOLDER if instance.has_api_key else ""


@extend_schema_field(STRING_LIST)
class StringListField(serializers.JSONField):
    """A list of strings that are not empty."""

    default_validators = [string_list]


class LLMSerializer(ResourceSerializer):
    """An LLM. Its key is kept if you send the placeholder back, and removed by "" or null.

    A new vendor, or another scheme, host or port of the endpoint, needs the key anew in the same request.
    """

    api_key = KeyField(required=False, allow_null=True, allow_blank=True, max_length=1_000)
    has_api_key = serializers.BooleanField(read_only=True)
    allowed_models = StringListField(
        required=False, allow_null=True, help_text=str(LLM._meta.get_field("allowed_models").help_text)
    )

    class Meta:
        model = LLM
        resource_name = "llms"
        permission = "llms.read"
        fields = (
            "name",
            "vendor",
            "api_endpoint",
            "api_key",
            "has_api_key",
            "default_model",
            "allowed_models",
            "privacy_score",
            "short_description",
            "long_description",
            "logo_url",
            "active",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        llm = self.instance
        if isinstance(llm, LLM) and attrs.get("api_key", KEY_PLACEHOLDER) == KEY_PLACEHOLDER:
            new = {name: attrs.get(name, getattr(llm, name)) for name in ("vendor", "api_endpoint")}
            if not llm.keeps_key_at(**new):
                raise ValidationError({"api_key": ErrorDetail(KEY_NEEDED, "required")})
        return attrs

    def create(self, validated_data: dict[str, object]) -> LLM:
        return self.update(LLM(), validated_data)

    def update(self, instance: LLM, validated_data: dict[str, object]) -> LLM:
        key = validated_data.pop("api_key", KEY_PLACEHOLDER)
        if key != KEY_PLACEHOLDER:
            instance.set_api_key(str(key or ""))
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save()
        return instance


class LLMSettingsSerializer(ResourceSerializer):
    stop_words = StringListField(required=False, allow_null=True)
    metadata = ObjectField(required=False, allow_null=True, validators=[json_object])

    class Meta:
        model = LLMSettings
        resource_name = "llm-settings"
        permission = "llms.read"
        fields = (
            "model_name",
            "temperature",
            "max_tokens",
            "top_p",
            "top_k",
            "min_length",
            "max_length",
            "repetition_penalty",
            "seed",
            "stop_words",
            "metadata",
            "system_prompt",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")


class VendorSerializer(PlainSerializer):
    """A vendor. Its id is the value of `vendor` in `llms`."""

    description = serializers.CharField(read_only=True)

    class Meta:
        resource_name = "vendors"
        path = ""
