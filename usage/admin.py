"""Adds what calls vendors to the admin's pages of LLMs and settings: a check, and suggestions of models' names."""

from abc import abstractmethod
from collections.abc import Mapping

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Field
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core.web.admin import Admin
from llms.admin import LLMAdmin, LLMSettingsAdmin
from llms.models import LLM, LLMSettings
from llms.vendors.errors import VendorError
from usage.check_result import Check
from usage.checks import MOST_TOKENS, SECONDS, check
from usage.errors import VendorsBusy
from usage.model_list import models_of_each

MARKS = {True: "✓", False: "✗", None: "–"}  # noqa: RUF001


class ModelInput(UnfoldAdminTextInputWidget):
    """An input for the name of a model. When it is first entered, its suggestions are loaded from `models_url`."""

    template_name = "usage/model_input.html"

    def __init__(self, models_url: str) -> None:
        super().__init__({"autocomplete": "off"})
        self.models_url = models_url

    def get_context(self, name: str, value: object, attrs: Mapping[str, object] | None) -> dict[str, dict[str, object]]:
        attrs = {**(attrs or {}), "list": f"{(attrs or {}).get('id', name)}_models"}
        context: dict[str, dict[str, object]] = super().get_context(name, value, attrs)
        context["widget"]["models_url"] = self.models_url
        return context


class ModelNamesAdmin(Admin):
    """An admin whose field `model_field` suggests the names of models, which the page at `models_path` lists."""

    model_field: str
    models_path: str

    @abstractmethod
    def models_url(self, request: HttpRequest) -> str:
        """The URL of the suggestions, or "" if there are none."""

    @abstractmethod
    def llms_to_ask(self, object_id: str) -> list[LLM]:
        """The LLMs whose vendors are asked for their models."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.model_names)
        own = path(self.models_path, view, name=f"{self.opts.app_label}_{self.opts.model_name}_models")
        return [own, *super().get_urls()]

    def model_names(self, request: HttpRequest, object_id: str = "") -> HttpResponse:
        """The suggestions as HTML options. An error of a vendor is not shown, because any name can be typed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        llms = self.llms_to_ask(object_id)
        try:
            lists = models_of_each(llms)
        except VendorsBusy:
            lists = {}
        options = [
            (name, llm.name if len(llms) > 1 else "")
            for llm in llms
            if not isinstance(models := lists.get(llm.pk, ()), VendorError)
            for name in models
        ]
        return HttpResponse(format_html_join("", '<option value="{}" label="{}"></option>', options))

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **options: object) -> forms.Field | None:
        if db_field.name == self.model_field and (url := self.models_url(request)):
            options["widget"] = ModelInput(url)
        return super().formfield_for_dbfield(db_field, request, **options)


class CheckForm(BaseDialogForm):
    """Which model to ask."""

    model = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget, help_text="The default model, if empty."
    )


admin.site.unregister((LLM, LLMSettings))


@admin.register(LLM)
class CheckableLLMAdmin(ModelNamesAdmin, LLMAdmin):
    model_field = "default_model"
    models_path = "<path:object_id>/models/"
    actions_detail = ("check_answers",)

    def models_url(self, request: HttpRequest) -> str:
        match = request.resolver_match
        pk = match.kwargs.get("object_id") if match else None  # a new LLM has no key to ask with yet
        return reverse("admin:llms_llm_models", args=[pk]) if pk else ""

    def llms_to_ask(self, object_id: str) -> list[LLM]:
        return list(LLM.objects.filter(pk=object_id)) if object_id.isdecimal() else []

    @action(
        description="Check",
        icon="network_check",
        permissions=["change"],
        dialog={
            "title": "Check this LLM?",
            "description": f"Asks the saved LLM one short question: at most {SECONDS} s and {MOST_TOKENS} tokens.",
            "form_class": CheckForm,
            "form_submit_text": "Check",
        },
    )
    def check_answers(self, request: HttpRequest, form: CheckForm, object_id: str) -> HttpResponse:
        llm = self.get_object(request, object_id)
        if not llm:
            raise Http404
        try:
            self.report(request, check(llm=llm, model=form.cleaned_data["model"].strip()))
        except VendorsBusy as error:
            self.message_user(request, str(error), messages.WARNING)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:llms_llm_change", args=[llm.pk])})

    def report(self, request: HttpRequest, result: Check) -> None:
        """Show the result as a message on the next page."""
        steps = format_html_join(
            "", "<li>{} {}: {}</li>", ((MARKS[step.passed], step.name, step.detail) for step in result.steps)
        )
        verdict = f"{result.model} answers." if result.ok else result.advice
        text = format_html("<p><strong>{}</strong></p><ul>{}</ul>", verdict, steps)
        self.message_user(request, text, messages.SUCCESS if result.ok else messages.ERROR)


@admin.register(LLMSettings)
class LLMSettingsWithModelsAdmin(ModelNamesAdmin, LLMSettingsAdmin):
    model_field = "model_name"
    models_path = "models/"

    def models_url(self, request: HttpRequest) -> str:
        return reverse("admin:llms_llmsettings_models")

    def llms_to_ask(self, object_id: str) -> list[LLM]:
        """All active LLMs, because settings can be used with any."""
        return list(LLM.objects.filter(active=True))
