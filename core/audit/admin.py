import json

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter
from unfold.decorators import display

from core.audit.models import AuditEvent
from core.web.admin import Admin, ReadOnly


class ObjectTypeFilter(DropdownFilter):
    title = "object type"
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Admin) -> list[tuple[str, str]]:
        return [(name, name) for name in AuditEvent.object_types()]

    def queryset(self, request: HttpRequest, events: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return events.filter(object_type=self.value()) if self.value() else events


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, Admin):
    """The records of the audit; nothing here changes them."""

    list_display = ("created_at", "actor_name", "action", "object_type", "object_name", "door", "address")
    list_display_links = ("created_at",)
    list_filter = (
        ("action", ChoicesDropdownFilter),
        ObjectTypeFilter,
        ("door", ChoicesDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("actor_name", "object_name", "request_id")
    search_help_text = "Who, what, or request id"
    show_full_result_count = False
    fields = (
        "created_at", "actor_name", "actor_id", "action", "detail", "object_type", "object_id", "object_name",
        "before_and_after", "door", "address", "request_id",
    )  # fmt: skip
    readonly_fields = fields
    when_empty = "Each change of people, LLMs and chats, and each sign-in, is recorded here."

    @display(description="before and after")
    def before_and_after(self, event: AuditEvent) -> str:
        return format_html(
            '<pre class="whitespace-pre-wrap">{}</pre>', json.dumps(event.changes, indent=2, ensure_ascii=False)
        )
