"""What the admin's pages of every model share."""

from typing import Any

from django.db import transaction
from django.db.models import Count, Model, OuterRef, Subquery, TextField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from core.audit.recording import recording
from core.database.casefold import fold

LINK = "text-primary-600 dark:text-primary-500"


class Admin(ModelAdmin):
    """What the pages of every model share.

    `add_label` and `when_empty` are read by the templates of unfold that ours replace.
    """

    warn_unsaved_form = True
    list_filter_submit = True
    formfield_overrides: Any = {TextField: {"widget": UnfoldAdminExpandableTextareaWidget}}
    add_label = ""
    when_empty = ""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return recorded(super().changeform_view, request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return recorded(super().changelist_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return recorded(super().delete_view, request, *args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """What a page is of. While its form is stored nobody else changes it: what is recorded as before it was."""
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not transaction.get_connection().in_atomic_block:
            return found
        try:
            found.refresh_from_db(from_queryset=self.model._base_manager.select_for_update(no_key=True))
        except self.model.DoesNotExist:
            return None
        return found

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """Find names whatever their letter case: folded fields hold folded names, the others what was typed."""
        term = search_term.replace("\0", "")  # which PostgreSQL refuses
        found, duplicates = super().get_search_results(request, queryset, term)
        folded, _ = super().get_search_results(request, queryset, fold(term))
        return found | folded, duplicates


def recorded(page: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
    """A page, whose form makes one record of all that it changes of a row."""
    if request.method != "POST":
        return page(request, *args, **kwargs)
    with transaction.atomic(), recording():
        return page(request, *args, **kwargs)


def link(to: Model) -> str:
    """The name of something, leading to its page."""
    url = reverse(f"admin:{to._meta.app_label}_{to._meta.model_name}_change", args=[to.pk])
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, to)


def links(to: Any) -> str:
    joined = format_html_join(", ", "{}", ((link(one),) for one in to))
    return joined and format_html("<span>{}</span>", joined)  # in one piece where a cell is a flex box


def chats_link(count: int, **lookup: int) -> str:
    """The number of chats, leading to their list."""
    url = reverse("admin:chats_chat_changelist", query=lookup)
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, count) if count else "0"


def count_of(model: type[Model], relation: str) -> Subquery:
    """How many a row has at the other end of a relation; two of these do not multiply each other."""
    rows = model._base_manager.filter(pk=OuterRef("pk")).values("pk")
    return Subquery(rows.annotate(number=Count(relation)).values("number"))
