"""Chats: an LLM, the settings it is called with, and the groups that may talk to it."""

from typing import Self

from django.db import models

from aistudio.names import FoldedField
from groups.models import Group, User
from llms.models import LLM, LLMSettings


class ChatQuerySet(models.QuerySet["Chat"]):
    def visible_to(self, user: User) -> Self:
        """All to an administrator; to anyone else those of the groups they belong to. The one way to a chat."""
        if user.is_admin:
            return self
        open_to_user = Chat.groups.through.objects.filter(group__members=user)
        return self.filter(pk__in=open_to_user.values("chat"))  # SQLite would walk through all chats for EXISTS


class Chat(models.Model):
    """A room where members of its groups talk to an LLM; without groups it is for administrators only."""

    name = models.CharField(max_length=200)
    name_folded = FoldedField("name")
    description = models.TextField(max_length=2_000, blank=True)
    system_prompt = models.TextField(max_length=100_000, blank=True, help_text="Used instead of that of the settings.")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="chats", verbose_name="LLM")
    llm_settings = models.ForeignKey(
        LLMSettings, on_delete=models.PROTECT, related_name="chats", verbose_name="LLM settings"
    )
    groups = models.ManyToManyField(
        Group, related_name="chats", blank=True, help_text="Who may use it; only administrators, when empty."
    )
    created_at = models.DateTimeField("created", auto_now_add=True)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects = ChatQuerySet.as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name
