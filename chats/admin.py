from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from chats.models import Chat


@admin.register(Chat)
class ChatAdmin(ModelAdmin):
    list_display = ("name", "llm", "llm_settings", "group_names", "updated_at")
    list_filter = ("llm", "groups")
    list_select_related = ("llm", "llm_settings")
    search_fields = ("name_folded",)
    autocomplete_fields = ("llm", "llm_settings", "groups")
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        ("Model", {"fields": ("llm", "llm_settings", "system_prompt")}),
        ("Who may use it", {"fields": ("groups",)}),
        ("Dates", {"fields": ("created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chat]:
        return super().get_queryset(request).prefetch_related("groups")

    @display(description="groups")
    def group_names(self, chat: Chat) -> str:
        return ", ".join(group.name for group in chat.groups.all()) or "administrators only"
