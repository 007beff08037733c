from typing import ClassVar

from aistudio.serializers import ResourceSerializer
from chats.models import Chat
from groups.serializers import GroupSerializer
from llms.serializers import LLMSerializer, LLMSettingsSerializer


class ChatSerializer(ResourceSerializer):
    included_serializers: ClassVar = {
        "llm": LLMSerializer,
        "llm_settings": LLMSettingsSerializer,
        "groups": GroupSerializer,
    }

    class Meta:
        model = Chat
        resource_name = "chats"
        administrators_read = ("system_prompt",)
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
