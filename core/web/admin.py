"""The base of all admin pages."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.db import transaction
from django.db.models import Count, ForeignObjectRel, Model, OuterRef, QuerySet, Subquery, TextField
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from core.audit.recording import recording
from core.database.casefold import fold
from core.web.conflicts import Inline, guard_form

LINK = "text-primary-600 dark:text-primary-500"


class Admin(ModelAdmin):
    """The base of our admin classes.

    `add_label` and `when_empty` are read by our templates, which replace those of unfold.
    """

    warn_unsaved_form = True
    list_filter_submit = True
    formfield_overrides: Any = {TextField: {"widget": UnfoldAdminExpandableTextareaWidget}}
    change_form_before_template = "admin/opened_as.html"
    hidden_columns: tuple[str, ...] = ()  # that the form changes without showing them
    add_label = ""
    when_empty = ""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.change(request, partial(super().changeform_view, request, *args, **kwargs))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.change(request, partial(super().changelist_view, request, *args, **kwargs))

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.change(request, partial(super().delete_view, request, *args, **kwargs))

    def change(self, request: HttpRequest, page: Callable[[], HttpResponse]) -> HttpResponse:
        """Answer with a page; a POST makes one record of all that it changes of a row."""
        self.refuse_other_than_keys(request)
        if request.method != "POST":
            return page()
        with transaction.atomic(), recording():
            return page()

    def refuse_other_than_keys(self, request: HttpRequest) -> None:
        """Raise BadRequest if an id that was sent is none: Django would look for it, and fail."""
        models = (self.model, *(inline.model for inline in self.inlines))
        relations = {item.name for model in models for item in model._meta.get_fields() if item.is_relation}
        for name, values in (*request.GET.lists(), *request.POST.lists()):
            if name == ACTION_CHECKBOX_NAME or name.rpartition("-")[2] in relations:
                for key in (
                    key for value in values for key in value.split(",") if value or name == ACTION_CHECKBOX_NAME
                ):
                    if not (key.isascii() and key.isdecimal() and len(key) < 20 and int(key) < 2**63):
                        raise BadRequest(f"{name} has a value that is no id.")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The values that the query has for a new row. Raises BadRequest if one is of the wrong type."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        fields = {item.name: item for item in self.opts.concrete_fields}
        for name, value in initial.items():
            try:
                _ = name in fields and fields[name].to_python(value)
            except ValidationError:
                raise BadRequest(f"{name} has a value of the wrong type.") from None
        return initial

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row that a page shows. It is locked while a POST changes it, so that its record has the values before."""
        row: Model | None = super().get_object(request, object_id, from_field or None)
        if row is None or request.method != "POST" or not transaction.get_connection().in_atomic_block:
            return row
        try:
            row.refresh_from_db(from_queryset=self.model._base_manager.select_for_update(no_key=True))
        except self.model.DoesNotExist:
            return None
        return row

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> type[ModelForm]:
        form_class: type[ModelForm] = super().get_form(request, obj, change, **options)
        if obj is None or not change or not self.has_change_permission(request, obj):
            return form_class
        inlines = []
        for formset_class, inline in self.get_formsets_with_inlines(request, obj):
            if inline.has_change_permission(request, obj):
                relations = [field.name for field in inline.model._meta.concrete_fields if field.is_relation]
                rows = inline.get_queryset(request).select_related(*relations)
                inlines.append(Inline(str(inline.verbose_name_plural), formset_class, rows))
        sent = request.POST if request.method == "POST" else None
        guarded = guard_form(form_class, obj, inlines, sent, self.hidden_columns)
        vars(request)["has_conflict"] = bool(guarded.differences)  # for get_formset_kwargs
        return guarded

    def get_formset_kwargs(self, request: HttpRequest, obj: Model, *args: Any) -> dict[str, Any]:
        """After a conflict, inlines show the stored rows: rows that were sent may be gone, and could never be saved."""
        arguments: dict[str, Any] = super().get_formset_kwargs(request, obj, *args)
        if vars(request).get("has_conflict"):
            return {name: value for name, value in arguments.items() if name not in ("data", "files")}
        return arguments

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find names in any letter case: casefolded fields hold casefolded names, other fields what was typed."""
        term = search_term.replace("\0", "")  # PostgreSQL refuses NUL
        as_typed, has_duplicates = super().get_search_results(request, queryset, term)
        casefolded, _ = super().get_search_results(request, queryset, fold(term))
        return as_typed | casefolded, has_duplicates


class ReadOnly:
    """For an admin class or inline that only shows rows."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


def link(to: Model) -> str:
    """The name of a row, as a link to its page."""
    url = reverse(f"admin:{to._meta.app_label}_{to._meta.model_name}_change", args=[to.pk])
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, to)


def links(to: Iterable[Model]) -> str:
    """The names of these rows, as links to their pages, divided by commas."""
    joined = format_html_join(", ", "{}", ((link(one),) for one in to))
    return joined and format_html("<span>{}</span>", joined)  # one element, because a cell may be a flex box


def count_link(row: Model, relation: str, *, annotation: str) -> str:
    """The number of rows at the other end of a reverse relation, which `annotation` holds, as a link to their list."""
    count: int = getattr(row, annotation)
    field = row._meta.get_field(relation)
    assert isinstance(field, ForeignObjectRel)
    related = field.related_model._meta
    url = reverse(
        f"admin:{related.app_label}_{related.model_name}_changelist", query={f"{field.field.name}__id__exact": row.pk}
    )
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, count) if count else "0"


def count_of(model: type[Model], relation: str) -> Subquery:
    """How many a row has at the other end of a relation; two of these do not multiply each other."""
    rows = model._base_manager.filter(pk=OuterRef("pk")).values("pk")
    return Subquery(rows.annotate(number=Count(relation)).values("number"))
