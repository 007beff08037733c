from rest_framework import serializers

from aistudio.serializers import ResourceSerializer
from llms.models import LLM, LLMSettings

KEY_PLACEHOLDER = "********"


class LLMSerializer(ResourceSerializer):
    """An LLM. Its key never leaves: where there is one, a placeholder stands for it."""

    api_key = serializers.SerializerMethodField()
    has_api_key = serializers.BooleanField(read_only=True)

    class Meta:
        model = LLM
        resource_name = "llms"
        for_administrators = True
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

    def get_api_key(self, llm: LLM) -> str:
        return KEY_PLACEHOLDER if llm.has_api_key else ""


class LLMSettingsSerializer(ResourceSerializer):
    class Meta:
        model = LLMSettings
        resource_name = "llm-settings"
        for_administrators = True
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
