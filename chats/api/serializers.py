from typing import ClassVar
from uuid import UUID

from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from chats.answering.journal import partial_entries
from chats.api.part_schema import PART
from chats.conversation import ensure_idle
from chats.models import USAGE, Chat, Message, Session
from chats.parts import joined_text, public_parts, stored_parts
from core.rest.fields import CharField, ExactNameField, IntegerField
from core.rest.json_schema import array
from core.rest.resource import ROW_ID
from core.rest.serializers import PlainSerializer, ResourceSerializer
from groups.models import User
from groups.serializers import GroupSummarySerializer
from llms.serializers import LLMSerializer, LLMSettingsSerializer

LONGEST_QUESTION = 200_000  # characters
UTF_8 = "Kept byte for byte. A long one fits a body's 1 MiB as UTF-8, and may not as \\u escapes."


class ChatSerializer(ResourceSerializer):
    """A chat. Members do not see its system prompt."""

    included_serializers: ClassVar = {
        "llm": LLMSerializer,
        "llm_settings": LLMSettingsSerializer,
        "groups": GroupSummarySerializer,
    }

    class Meta:
        model = Chat
        resource_name = "chats"
        restricted = {"system_prompt": "chats.read_prompts"}
        as_in_contract = True
        contract_fields = ("name", "llm", "llm_settings", "groups")
        fields = (
            "name",
            "description",
            "system_prompt",
            "llm_titles",
            "llm",
            "llm_settings",
            "groups",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")
        linked = ("groups",)


@extend_schema_field({"type": "string"})
class MessageIdField(serializers.Field):
    """The id of a message: a string in the API, an integer in the database."""

    default_error_messages: ClassVar = {"invalid": "This must be an id: a string of digits."}

    def to_representation(self, value: int | None) -> str | None:
        return None if value is None else str(value)

    def to_internal_value(self, data: object) -> int:
        if not (isinstance(data, str) and ROW_ID.fullmatch(data)):
            self.fail("invalid")
        return int(data)


class LeafField(MessageIdField):
    """The id of an answer of the session, or null: before the first question."""

    default_error_messages: ClassVar = {"does_not_exist": "This session has no answer with the id {id}."}

    def to_internal_value(self, data: object) -> int:
        key, session = super().to_internal_value(data), self.parent.instance
        if session is None or not session.messages.filter(role=Message.Role.ASSISTANT, pk=key).exists():
            self.fail("does_not_exist", id=key)
        return key


class SessionSerializer(ResourceSerializer):
    """A session. Its chat is chosen when it is created and stays."""

    included_serializers: ClassVar = {"chat": ChatSerializer}
    chat_name = CharField(source="name_of_chat", read_only=True)
    leaf_id = LeafField(required=False, allow_null=True, help_text="The answer that the next question comes after.")

    class Meta:
        model = Session
        resource_name = "sessions"
        key = "uuid"
        fields = ("name", "chat", "chat_name", "leaf_id", "pinned", "archived", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")
        extra_kwargs: ClassVar = {"chat": {"required": True}}

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        own = self.instance and self.instance.chat
        chat = attrs.get("chat", own)
        if chat is None and (own or not self.instance):
            raise ValidationError({"chat": [ErrorDetail("A session needs a chat.", "null")]})
        if self.instance and chat != own:
            raise ValidationError({"chat": [ErrorDetail("A session stays in its chat.", "read_only")]})
        if self.instance and attrs.get("leaf_id", self.instance.leaf_id) != self.instance.leaf_id:
            ensure_idle(self.instance)
        return attrs


class RecordSerializer(PlainSerializer):
    """A session as the contract has it."""

    name = ExactNameField(required=False, max_length=200, allow_blank=True)
    chat_id = IntegerField(allow_null=True)
    session_id = CharField(source="uuid", required=False, help_text="A uuid; a new one by default.")
    user_id = IntegerField(required=False, help_text="The caller, who is the default.")

    class Meta:
        resource_name = "chat-history-records"
        wrapped = True

    def validate_chat_id(self, key: int | None) -> int:
        if key is None:
            raise ValidationError("A session needs a chat.", "null")
        if not Chat.objects.visible_to(self.user).filter(pk=key).exists():
            raise ValidationError(f"There is no chat with the id {key}.", "does_not_exist")
        return key

    def validate_session_id(self, text: str) -> UUID:
        try:
            key = UUID(text)
        except ValueError:
            raise ValidationError("This must be a uuid, such as 7d3f…; leave it out for a new one.") from None
        if Session.objects.filter(uuid=key, user=self.user).exists():
            raise ValidationError("You already have a session with this uuid.", "unique")
        return key

    def validate_user_id(self, key: int) -> int:
        if key != self.user.pk:
            raise ValidationError(f"This must be your own id, {self.user.pk}: a session belongs to who opens it.")
        return key

    @property
    def user(self) -> User:
        user: User = self.context["request"].user
        return user

    def create(self, validated_data: dict[str, object]) -> Session:
        return Session.objects.create(**{**validated_data, "user": self.user})


class QuestionSerializer(PlainSerializer):
    """The body of a question."""

    text = CharField(
        trim_whitespace=False,
        min_length=1,
        max_length=LONGEST_QUESTION,
        help_text=UTF_8,
        validators=[RegexValidator(r"\S", "A question needs more than spaces.", code="blank")],
    )

    class Meta:
        resource_name = "messages"


@extend_schema_field(
    {
        "type": "object",
        "properties": {"code": {"type": "string"}, "detail": {"type": "string"}, "retryable": {"type": "boolean"}},
        "required": ["code", "detail", "retryable"],
    }
)
class ErrorField(serializers.DictField):
    """Why an answer is not whole."""


@extend_schema_field(
    {
        "type": "object",
        "properties": {name: {"type": "boolean" if name == "estimated" else ["integer", "null"]} for name in USAGE},
        "required": list(USAGE),
    }
)
class UsageField(serializers.DictField):
    """Tokens and times of an answer."""


@extend_schema_field(array(PART))
class PartsField(serializers.ListField):
    """The parts of a message."""


class StringsField(serializers.ListField):
    child = serializers.CharField()


class MessageSerializer(ResourceSerializer):
    """A question or an answer. The text and parts of an answer that still grows come from the journal."""

    text = serializers.CharField(read_only=True)
    parts = PartsField(read_only=True, help_text="What it consists of, in its order; see docs/streaming.md.")
    ignored_settings = StringsField(read_only=True, help_text="Settings of the chat that the vendor does not know.")
    error = ErrorField(read_only=True, allow_null=True)
    notice = serializers.CharField(
        read_only=True, allow_null=True, help_text="Why a complete answer has no text or ends early, for people."
    )
    parent_id = MessageIdField(read_only=True, allow_null=True)
    usage = UsageField(read_only=True, allow_null=True)

    class Meta:
        model = Message
        resource_name = "messages"
        fields = (
            "role",
            "text",
            "parts",
            "status",
            "finish_reason",
            "error",
            "notice",
            "parent_id",
            "sequence",
            "model",
            "ignored_settings",
            "usage",
            "created_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: Message) -> dict[str, object]:
        row = super().to_representation(instance)
        text, parts = instance.text, instance.parts
        if instance.status == Message.Status.STREAMING and "as_it_is" not in self.context:  # at most one in a session
            entries = partial_entries(instance.pk)
            text, parts = joined_text(entries), stored_parts(entries)
        own = {"text": text, "parts": public_parts(text, parts)}
        return {name: own.get(name, value) for name, value in row.items()}

    def path(self, instance: Message) -> str:
        return f"sessions/{self.context['session']}/messages/{instance.pk}"


class SessionUsageSerializer(PlainSerializer):
    """What the calls of a session took together. Its id is the session's."""

    answers = serializers.IntegerField(read_only=True)
    titles = serializers.IntegerField(read_only=True, help_text="Calls for a title, which are in all sums.")
    input_tokens = serializers.IntegerField(read_only=True)
    output_tokens = serializers.IntegerField(read_only=True)
    cached_tokens = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: no vendor said.")
    estimated = serializers.BooleanField(read_only=True, help_text="Whether a count in it is ours.")

    class Meta:
        resource_name = "session-usages"
        key = "session"
        path = ""


class ExplanationSerializer(PlainSerializer):
    """Whether a user may use a chat, and why."""

    user_id = serializers.IntegerField(read_only=True)
    chat_id = serializers.IntegerField(read_only=True)
    allowed = serializers.BooleanField(read_only=True)
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    groups = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        resource_name = "access-explanations"
        path = ""
