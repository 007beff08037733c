from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from chats.models import Chat
from core.web.admin import Admin, link, links


@admin.register(Chat)
class ChatAdmin(Admin):
    list_display = ("name", "llm_link", "llm_settings_link", "group_names", "updated_at")
    list_filter = tuple((name, AutocompleteSelectFilter) for name in ("llm", "llm_settings", "groups"))
    list_select_related = ("llm", "llm_settings")
    search_fields = ("name_folded",)
    search_help_text = "Name"
    autocomplete_fields = ("llm", "llm_settings", "groups")
    readonly_fields = ("created_at", "updated_at")
    when_empty = "A chat is where the members of its groups talk to an LLM."

    def get_fieldsets(
        self, request: HttpRequest, obj: Chat | None = None
    ) -> list[tuple[str | None, dict[str, tuple[str, ...]]]]:
        fieldsets: list[tuple[str | None, dict[str, tuple[str, ...]]]] = [
            (None, {"fields": ("name", "description")}),
            ("Model", {"fields": ("llm", "llm_settings", "system_prompt", "llm_titles")}),
            ("Who may use it", {"fields": ("groups",)}),
        ]
        return [*fieldsets, ("Dates", {"fields": ("created_at", "updated_at")})] if obj else fieldsets

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chat]:
        return super().get_queryset(request).prefetch_related("groups")

    @display(description="LLM", ordering="llm__name_folded")
    def llm_link(self, chat: Chat) -> str:
        return link(chat.llm)

    @display(description="LLM settings", ordering="llm_settings__model_name_folded")
    def llm_settings_link(self, chat: Chat) -> str:
        return link(chat.llm_settings)

    @display(description="groups")
    def group_names(self, chat: Chat) -> str:
        return links(chat.groups.all()) or "administrators only"
