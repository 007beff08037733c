from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.utils.html import format_html
from rest_framework.exceptions import APIException
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminPasswordWidget,
    UnfoldBooleanSwitchWidget,
)

from core.database.encryption import UnreadableSecret
from core.rest.parsers import strict_json
from core.web.admin import Admin, count_link, count_of
from llms.models import KEY_NEEDED, LLM, LLMSettings

KEY_MAX_LENGTH = 1_000

Fieldsets = Sequence[tuple[str | None, Mapping[str, object]]]


class LinesField(forms.CharField):
    """A list of strings, one per line."""

    widget = UnfoldAdminExpandableTextareaWidget

    def prepare_value(self, value: object) -> object:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: str | None) -> list[str]:
        return self.split_lines(super().clean(value))

    def has_changed(self, initial: list[str] | None, data: str | None) -> bool:
        return (initial or []) != self.split_lines(data or "")

    @staticmethod
    def split_lines(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip()]


class JSONField(forms.JSONField):
    """A JSON list or object, parsed as strictly as the API does. Empty input or null gives an empty one."""

    widget = UnfoldAdminExpandableTextareaWidget

    def __init__(self, json_type: type[list] | type[dict], *, required: bool = False, help_text: str = "") -> None:
        super().__init__(required=required, help_text=help_text)
        self.json_type = json_type

    def to_python(self, value: object) -> Any:
        if not isinstance(value, str):
            return value
        try:
            parsed = strict_json(BytesIO((value.strip() or "null").encode()))
        except APIException as error:
            raise ValidationError(str(error.detail).replace("The body", "This")) from None
        if parsed is None:
            return self.json_type()
        if not isinstance(parsed, self.json_type):
            raise ValidationError("This must be a list." if self.json_type is list else "This must be a JSON object.")
        return parsed

    def bound_data(self, data: str | None, initial: object) -> object:
        return None if data is None else InvalidJSONInput(data)  # a form with errors shows the input as it was typed


class LLMForm(forms.ModelForm):
    allowed_models = LinesField(required=False, help_text="The models that chats may use, one per line. If empty, any.")
    new_api_key = forms.CharField(
        label="New API key",
        required=False,
        max_length=KEY_MAX_LENGTH,
        validators=[RegexValidator(r"^(?!\*+$)[!-~]+$", "This is no API key: API keys are ASCII and have no spaces.")],
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. If empty, the stored key is kept. "
        'A stored key that "cannot be read" was encrypted with a key that FIELD_KEYS no longer has.',
    )
    clear_api_key = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget, label="Forget the stored key")

    class Meta:
        model = LLM
        fields = "__all__"  # noqa: DJ007  the fieldsets of the admin choose

    def clean(self) -> dict[str, object] | None:
        cleaned = super().clean()
        if cleaned and cleaned.get("new_api_key") and cleaned.get("clear_api_key"):
            self.add_error("clear_api_key", "Enter a new key or forget the stored one, not both.")
        elif cleaned and not cleaned.get("new_api_key") and not cleaned.get("clear_api_key"):
            new = {name: cleaned.get(name, getattr(self.instance, name)) for name in ("vendor", "api_endpoint")}
            with suppress(ValueError):  # no URL: its field gets an error of its own
                if not self.instance.keeps_key_at(**new):
                    self.add_error("new_api_key", KEY_NEEDED)
        return cleaned

    def save(self, commit: bool = True) -> LLM:
        if self.cleaned_data["new_api_key"] or self.cleaned_data.get("clear_api_key"):
            self.instance.set_api_key(self.cleaned_data["new_api_key"])
        return super().save(commit)


@admin.register(LLM)
class LLMAdmin(Admin):
    form = LLMForm
    list_display = ("name", "vendor", "default_model", "privacy_score", "active", "stored_key", "chat_count")
    list_filter = (("vendor", ChoicesDropdownFilter), ("active", BooleanRadioFilter))
    search_fields = ("name_folded", "default_model")
    search_help_text = "Name or default model"
    readonly_fields = ("stored_key", "chat_count", "created_at", "updated_at")
    hidden_columns = ("api_key",)
    when_empty = "An LLM is a language model at a vendor, with the key to it. A chat needs one."

    def get_fieldsets(self, request: HttpRequest, obj: LLM | None = None) -> Fieldsets:
        stored = ("stored_key", "new_api_key", "clear_api_key") if obj else ("new_api_key",)
        fieldsets = (
            (None, {"fields": ("name", "vendor", "active")}),
            ("Access", {"fields": ("api_endpoint", *stored)}),
            ("Models", {"fields": ("default_model", "allowed_models")}),
            ("About", {"fields": ("privacy_score", "short_description", "long_description", "logo_url")}),
        )
        return (*fieldsets, ("Use", {"fields": ("chat_count", "created_at", "updated_at")})) if obj else fieldsets

    def get_queryset(self, request: HttpRequest) -> QuerySet[LLM]:
        return super().get_queryset(request).annotate(chat_count=count_of(LLM, "chats"))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return not lookup.startswith("api_key") and super().lookup_allowed(lookup, value, request)

    @display(description="stored key")
    def stored_key(self, llm: LLM) -> str:
        if not llm.has_api_key:
            return "none"
        try:
            llm.api_key.reveal()
        except UnreadableSecret:
            return format_html('<span class="{}">{}</span>', "text-red-700 dark:text-red-400", "cannot be read")
        return f"••••{llm.api_key_end}"

    @display(description="chats", ordering="chat_count")
    def chat_count(self, llm: LLM) -> str:
        return count_link(llm, "chats", annotation="chat_count")


class LLMSettingsForm(forms.ModelForm):
    stop_words = JSONField(list, help_text='Texts that end an answer, such as ["END", "\\n\\n"].')
    metadata = JSONField(dict, help_text='Your own notes for programs, such as {"team": "research"}.')

    class Meta:
        model = LLMSettings
        fields = "__all__"  # noqa: DJ007  the fieldsets of the admin choose


class ModelFilter(DropdownFilter):
    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: "LLMSettingsAdmin") -> list[tuple[str, str]]:
        names = LLMSettings.objects.exclude(model_name="").order_by("model_name").values_list("model_name", flat=True)
        return [(name, name) for name in names.distinct()]

    def queryset(self, request: HttpRequest, rows: QuerySet[LLMSettings]) -> QuerySet[LLMSettings]:
        return rows.filter(model_name=self.value()) if self.value() else rows


@admin.register(LLMSettings)
class LLMSettingsAdmin(Admin):
    form = LLMSettingsForm
    list_display = ("__str__", "temperature", "max_tokens", "top_p", "chat_count", "updated_at")
    list_filter = (ModelFilter,)
    search_fields = ("model_name_folded", "system_prompt")
    search_help_text = "Model or system prompt"
    readonly_fields = ("chat_count", "created_at", "updated_at")
    when_empty = "Settings say how an LLM is called: the model, its temperature, the length of its answers."

    def get_fieldsets(self, request: HttpRequest, obj: LLMSettings | None = None) -> Fieldsets:
        return (
            (None, {"fields": ("model_name", "system_prompt")}),
            (
                "Sampling",
                {
                    "fields": ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop_words"),
                    "description": "An empty field is not sent, so the vendor's default holds; 0 is sent.",
                },
            ),
            ("Length", {"fields": ("max_tokens", "min_length", "max_length")}),
            ("More", {"fields": ("metadata", *(("chat_count", "created_at", "updated_at") if obj else ()))}),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LLMSettings]:
        return super().get_queryset(request).annotate(chat_count=count_of(LLMSettings, "chats"))

    @display(description="chats", ordering="chat_count")
    def chat_count(self, settings: LLMSettings) -> str:
        return count_link(settings, "chats", annotation="chat_count")
