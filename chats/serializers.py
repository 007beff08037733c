from typing import ClassVar

from rest_framework import serializers

from aistudio.serializers import PlainSerializer, ResourceSerializer
from chats.models import Chat
from groups.serializers import GroupSummarySerializer
from llms.serializers import LLMSerializer, LLMSettingsSerializer


class ChatSerializer(ResourceSerializer):
    included_serializers: ClassVar = {
        "llm": LLMSerializer,
        "llm_settings": LLMSettingsSerializer,
        "groups": GroupSummarySerializer,
    }

    class Meta:
        model = Chat
        resource_name = "chats"
        administrators_read = ("system_prompt",)
        as_in_contract = True
        contract_fields = ("name", "llm", "llm_settings", "groups")
        fields = (
            "name",
            "description",
            "system_prompt",
            "llm",
            "llm_settings",
            "groups",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")
        linked = ("groups",)


class ExplanationSerializer(PlainSerializer):
    user_id = serializers.IntegerField(read_only=True)
    chat_id = serializers.IntegerField(read_only=True)
    allowed = serializers.BooleanField(read_only=True)
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    groups = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        resource_name = "access-explanations"
        path = ""
