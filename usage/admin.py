"""What the admin's pages of LLMs and settings have that calls vendors: a check, and names of models to choose from."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core.rest.errors import Unavailable
from llms.admin import LLMAdmin, LLMSettingsAdmin
from llms.models import LLM, LLMSettings
from llms.vendors.errors import VendorError
from usage.checks import MOST_TOKENS, SECONDS, Check, check
from usage.model_list import models_of_each

MARKS = {True: "✓", False: "✗", None: "–"}  # noqa: RUF001


class ModelInput(UnfoldAdminTextInputWidget):
    """The name of a model, completed with those that vendors list: they are asked when it is first entered."""

    template_name = "usage/model_input.html"

    def __init__(self, models_url: str) -> None:
        super().__init__({"autocomplete": "off"})
        self.models_url = models_url

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        attrs = {**(attrs or {}), "list": f"{(attrs or {}).get('id', name)}_models"}
        context = super().get_context(name, value, attrs)
        context["widget"]["models_url"] = self.models_url
        return context


class ModelNames:
    """An admin with a field for the name of a model, and a page that has what completes it."""

    model_field: str
    models_path: str

    def get_urls(self: Any) -> Any:
        view = self.admin_site.admin_view(self.model_names)
        own = path(self.models_path, view, name=f"{self.opts.app_label}_{self.opts.model_name}_models")
        return [own, *super().get_urls()]  # type: ignore[misc]

    def model_names(self: Any, request: HttpRequest, object_id: str = "") -> HttpResponse:
        """The options; none, with no error, where no vendor lists any: then it is a plain field."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = self.llms_to_ask(object_id)
        try:
            offers = models_of_each(asked)
        except Unavailable:
            offers = {}
        options = [
            (name, llm.name if len(asked) > 1 else "")
            for llm in asked
            if not isinstance(offer := offers.get(llm.pk, ()), VendorError)
            for name in offer
        ]
        return HttpResponse(format_html_join("", '<option value="{}" label="{}"></option>', options))

    def formfield_for_dbfield(self: Any, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == self.model_field and (url := self.models_url(request)):
            options["widget"] = ModelInput(url)
        return super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]


class CheckForm(BaseDialogForm):
    """Which model to ask."""

    model = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget, help_text="The default model, when empty."
    )


admin.site.unregister((LLM, LLMSettings))


@admin.register(LLM)
class CheckableLLMAdmin(ModelNames, LLMAdmin):
    model_field = "default_model"
    models_path = "<path:object_id>/models/"
    actions_detail = ("check_answers",)

    def models_url(self, request: HttpRequest) -> str:
        """Nothing for a new one: there is no key yet to ask with."""
        match = request.resolver_match
        pk = match.kwargs.get("object_id") if match else None
        return reverse("admin:llms_llm_models", args=[pk]) if pk else ""

    def llms_to_ask(self, object_id: str) -> list[LLM]:
        return list(LLM.objects.filter(pk=object_id)) if object_id.isdecimal() else []

    @action(
        description="Check",
        icon="network_check",
        permissions=["change"],
        dialog={
            "title": "Check this LLM?",
            "description": f"As saved, it is asked one short question: at most {SECONDS} s and {MOST_TOKENS} tokens.",
            "form_class": CheckForm,
            "form_submit_text": "Check",
        },
    )
    def check_answers(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        llm = self.get_object(request, object_id)
        if not llm:
            raise Http404
        try:
            self.report(request, check(llm=llm, model=form.cleaned_data["model"].strip()))
        except Unavailable as error:
            self.message_user(request, str(error.detail), messages.WARNING)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:llms_llm_change", args=[llm.pk])})

    def report(self, request: HttpRequest, checked: Check) -> None:
        lines = format_html_join(
            "", "<li>{} {}: {}</li>", ((MARKS[step.passed], step.name, step.detail) for step in checked.steps)
        )
        verdict = f"{checked.model} answers." if checked.ok else checked.advice
        shown = format_html("<p><strong>{}</strong></p><ul>{}</ul>", verdict, lines)
        self.message_user(request, shown, messages.SUCCESS if checked.ok else messages.ERROR)


@admin.register(LLMSettings)
class LLMSettingsWithModelsAdmin(ModelNames, LLMSettingsAdmin):
    model_field = "model_name"
    models_path = "models/"

    def models_url(self, request: HttpRequest) -> str:
        return reverse("admin:llms_llmsettings_models")

    def llms_to_ask(self, object_id: str) -> list[LLM]:
        """Those that are active: settings are nobody's."""
        return list(LLM.objects.filter(active=True))
