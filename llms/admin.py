from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from aistudio.secrets import Ciphertext, UnreadableSecret
from llms.models import LLM, LLMSettings

KEY_MAX_LENGTH = 1_000


class LLMForm(forms.ModelForm):
    new_api_key = forms.CharField(
        label="New API key",
        required=False,
        max_length=KEY_MAX_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. Empty keeps the one that is stored.",
    )
    clear_api_key = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget, label="Forget the stored key")

    class Meta:
        model = LLM
        fields = "__all__"  # noqa: DJ007  the admin's fieldsets choose

    def clean(self) -> Any:
        cleaned = super().clean()
        if cleaned and cleaned.get("new_api_key") and cleaned.get("clear_api_key"):
            self.add_error("clear_api_key", "Enter a new key or forget the stored one, not both.")
        return cleaned

    def save(self, commit: bool = True) -> Any:
        if self.cleaned_data["new_api_key"] or self.cleaned_data["clear_api_key"]:
            self.instance.set_api_key(self.cleaned_data["new_api_key"])
        return super().save(commit)


@admin.register(LLM)
class LLMAdmin(ModelAdmin):
    form = LLMForm
    list_display = ("name", "vendor", "default_model", "privacy_score", "active", "stored_key")
    list_filter = ("vendor", "active")
    search_fields = ("name_folded", "default_model")
    readonly_fields = ("stored_key", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "vendor", "active")}),
        ("Access", {"fields": ("api_endpoint", "stored_key", "new_api_key", "clear_api_key")}),
        ("Models", {"fields": ("default_model", "allowed_models")}),
        ("About", {"fields": ("privacy_score", "short_description", "long_description", "logo_url")}),
        ("Dates", {"fields": ("created_at", "updated_at")}),
    )

    @display(description="stored key")
    def stored_key(self, llm: LLM) -> str:
        if not llm.has_api_key:
            return "none"
        try:
            cast(Ciphertext, llm.api_key).reveal()
        except UnreadableSecret:
            return "cannot be read: FIELD_KEYS lacks the key that encrypted it"
        return f"••••{llm.api_key_end}"


@admin.register(LLMSettings)
class LLMSettingsAdmin(ModelAdmin):
    list_display = ("__str__", "model_name", "temperature", "max_tokens", "top_p", "updated_at")
    list_filter = ("model_name",)
    search_fields = ("model_name_folded", "system_prompt")
    readonly_fields = ("created_at", "updated_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return (
            (None, {"fields": ("model_name", "system_prompt")}),
            ("Sampling", {"fields": ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop_words")}),
            ("Length", {"fields": ("max_tokens", "min_length", "max_length")}),
            ("More", {"fields": ("metadata", "created_at", "updated_at")}),
        )
