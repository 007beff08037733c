"""Chats: an LLM, the settings it is called with, and the groups that may talk to it."""

import uuid
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from chats.parts import Entry, read_entries
from core.audit.recording import Audited
from core.audit.relations import AuditedManyToManyField
from core.database.casefold import CasefoldedCharField, NameField
from groups.models import Group, User, is_administrator
from llms.models import LLM, LLMSettings
from usage.metering import CallResult


class ChatQuerySet(models.QuerySet["Chat"]):
    """Which chats a user may see."""

    def visible_to(self, user: User) -> Self:
        """Every chat with the permission `chats.read`; else those of the user's groups. Every access starts here."""
        if user.may("chats.read"):
            return self
        open_to_user = Chat.groups.through.objects.filter(group__members=user)
        return self.filter(pk__in=open_to_user.values("chat"))  # with EXISTS, SQLite would scan all chats


class Chat(Audited):
    """An LLM with settings, open to the members of its groups; without groups, only to administrators."""

    name = NameField(max_length=200)
    name_folded = CasefoldedCharField("name")
    description = models.TextField(max_length=2_000, blank=True)
    system_prompt = models.TextField(max_length=100_000, blank=True, help_text="Used instead of that of the settings.")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="chats", verbose_name="LLM")
    llm_settings = models.ForeignKey(
        LLMSettings, on_delete=models.PROTECT, related_name="chats", verbose_name="LLM settings"
    )
    llm_titles = models.BooleanField(
        "titles by the LLM",
        default=False,
        help_text="After its first answer a conversation gets its title from the LLM: one more call, counted in usage.",
    )
    groups = AuditedManyToManyField(
        Group, related_name="chats", blank=True, help_text="Who may use it; only administrators, when empty."
    )
    created_at = models.DateTimeField("created", auto_now_add=True)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects = ChatQuerySet.as_manager()

    audited_as = "chats"

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name


def keep_chat_name(
    collector: Any, field: "models.ForeignKey[Chat, Chat]", sessions: "SessionQuerySet", using: str
) -> None:
    """An `on_delete`: the sessions of a deleted chat stay, with its name, and take no more questions.

    A session whose owner had lost access to the chat stays invisible to them.
    """
    chats = Chat.objects.using(using).filter(sessions__in=sessions)
    if transaction.get_connection(using).in_atomic_block:  # a change of memberships has to wait
        members = Group.members.through.objects.using(using).filter(group__chats__in=chats)
        groups = Chat.groups.through.objects.using(using).filter(chat__in=chats)
        for rows in (members, groups):
            list(rows.select_for_update(of=("self",)).values_list("pk"))
    shut_out = list(sessions.exclude(is_open()))  # now, because the groups are deleted before the update
    collector.add_field_update(Session._meta.get_field("shut_out"), True, shut_out)
    for chat in chats.distinct():
        collector.add_field_update(Session._meta.get_field("chat_name"), chat.name, sessions.filter(chat=chat))
    models.SET_NULL(collector, field, sessions, using)


def is_open() -> Q:
    """Whether the owner of a session may use its chat."""
    member = Chat.groups.through.objects.filter(chat=OuterRef("chat"), group__members=OuterRef("user"))
    return is_administrator("user__") | Q(Exists(member))


class SessionQuerySet(models.QuerySet["Session"]):
    """Which sessions a user may see, and in which the owners may ask."""

    def visible_to(self, user: User) -> Self:
        """The user's own sessions whose chat they may see, or whose chat was deleted while they could see it."""
        own = self.filter(user=user)
        if user.may("chats.read"):  # who sees every chat
            return own
        return own.filter(Q(chat=None, shut_out=False) | Q(chat__in=Chat.objects.visible_to(user)))

    def open_to_owner(self) -> Self:
        """Sessions in which their owner may ask: visible to their owner, and not of a deleted chat."""
        return self.filter(is_open(), user__is_active=True, chat__isnull=False)


class Session(models.Model):
    """A conversation of one user in one chat. Its id in the API is the uuid; in the contract's records, the key."""

    uuid = models.UUIDField(default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    chat = models.ForeignKey(Chat, on_delete=keep_chat_name, null=True, related_name="sessions")
    chat_name = models.CharField(max_length=200, blank=True, editable=False, help_text="That of a deleted chat.")
    shut_out = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Whether its owner was, when its chat was deleted."
    )
    name = NameField(max_length=200, blank=True, help_text="Made of the first question, when empty.")
    name_folded = CasefoldedCharField("name", db_index=False)  # searched and sorted only among those of one user
    leaf = models.ForeignKey("Message", on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    last_sequence = models.BigIntegerField(default=0, editable=False)
    pinned = models.BooleanField(default=False)
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField("created", auto_now_add=True)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ("-updated_at", "-id")
        # Not over all users, because a refusal would tell that another has a session with a uuid.
        constraints = (models.UniqueConstraint(fields=("uuid", "user"), name="session_uuid_unique"),)
        indexes = (
            models.Index(fields=("user", "-updated_at", "-id"), name="session_newest"),
            # each question changes it, so rows without a leaf are left out
            models.Index(fields=("leaf",), condition=Q(leaf__isnull=False), name="session_leaf"),
        )

    def __str__(self) -> str:
        return self.name or f"Session {self.pk}"

    @property
    def shown_name(self) -> str:
        return self.name or gettext("New conversation")

    @property
    def name_of_chat(self) -> str:
        return self.chat.name if self.chat else self.chat_name


class MessageQuerySet(models.QuerySet["Message"]):
    """The branches of the tree of messages."""

    def branch(self, leaf_id: int | None) -> Self:
        """The messages from the first one to this leaf."""
        return self.filter(pk__in=RawSQL(BRANCH, (leaf_id,)))  # noqa: S611  (it has no text of anyone's)

    def below(self, message_id: int) -> Self:
        """A message and all messages that follow it, in any branch."""
        return self.filter(pk__in=RawSQL(BELOW, (message_id,)))  # noqa: S611


BRANCH = """
    WITH RECURSIVE branch(id, parent_id) AS (
        SELECT id, parent_id FROM chats_message WHERE id = %s
        UNION ALL
        SELECT m.id, m.parent_id FROM chats_message m JOIN branch ON m.id = branch.parent_id
    ) SELECT id FROM branch
"""
BELOW = """
    WITH RECURSIVE below(id) AS (
        SELECT id FROM chats_message WHERE id = %s
        UNION ALL
        SELECT m.id FROM chats_message m JOIN below ON m.parent_id = below.id
    ) SELECT id FROM below
"""


class Metered(models.Model):
    """What a call of a vendor took. Each call is stored in a row of such a model, so that it can be accounted for."""

    model = models.CharField(max_length=200, null=True)  # noqa: DJ001  (the API says null)
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    cached_tokens = models.BigIntegerField(null=True)
    estimated = models.BooleanField(default=False, help_text="Whether a count is ours, for the vendor said none.")
    latency_ms = models.BigIntegerField(null=True)
    time_to_first_token_ms = models.BigIntegerField(null=True)

    class Meta:
        abstract = True

    def record_usage(self, result: CallResult) -> None:
        """Take over what the call took, as its vendor counted it or as it was estimated."""
        for name in USAGE:
            setattr(self, name, getattr(result, name))


WITHOUT_TEXT = {  # by the finish reason
    "stop": gettext_lazy("The model ended its answer without a word."),
    "length": gettext_lazy("The model used up its tokens thinking, and has not answered. More tokens may help."),
    "content_filter": gettext_lazy("A filter of the vendor ended the answer before its first word."),
    "refusal": gettext_lazy("The model refused to answer."),
    "tool_calls": gettext_lazy("The model wants to call a tool, and says nothing itself."),
}
CUT_SHORT = {
    "length": gettext_lazy("The answer ends here because it reached the number of tokens that this chat allows."),
    "content_filter": gettext_lazy("The answer ends here because a filter of the vendor ended it."),
    "refusal": gettext_lazy("The model refused to go on."),
    "tool_calls": gettext_lazy("The answer ends here because the model wants to call a tool."),
}
USAGE = ("input_tokens", "output_tokens", "cached_tokens", "estimated", "latency_ms", "time_to_first_token_ms")


class Message(Metered):
    """A question or an answer. Messages form a tree: regenerate and edit add branches, so nothing is lost."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        STREAMING = "streaming"
        COMPLETE = "complete"
        STOPPED = "stopped"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    # the index of the first constraint is used for it
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children", db_index=False)
    sequence = models.BigIntegerField(help_text="The order within the session; a clock may go back, this does not.")
    role = models.CharField(max_length=9, choices=Role)
    text = models.TextField(blank=True)
    parts = models.JSONField(default=list, db_default=[], help_text="See chats.parts; empty where it is text alone.")
    status = models.CharField(max_length=11, choices=Status, default=Status.COMPLETE)
    finish_reason = models.CharField(max_length=50, null=True)  # noqa: DJ001  (the API says null)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    error_retryable = models.BooleanField(default=False)
    ignored_settings = models.JSONField(default=list, help_text="Settings that the vendor does not know.")
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001  (empty ones would not be unique)
    created_at = models.DateTimeField("created", default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ("sequence",)
        indexes = (models.Index(fields=("parent",), condition=Q(parent__isnull=False), name="message_parent"),)
        constraints = (
            models.UniqueConstraint(fields=("session", "sequence"), name="message_sequence_unique"),
            models.UniqueConstraint(
                fields=("session", "idempotency_key"),
                condition=Q(idempotency_key__isnull=False),
                name="message_idempotency_key_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} {self.sequence}"

    @property
    def entries(self) -> list[Entry]:
        """What came of an answer that has ended, in its order."""
        return read_entries(self.text, self.parts)

    @property
    def usage(self) -> dict[str, int | bool | None] | None:
        """What the answer took. None for a question, and while the answer is being produced."""
        if self.role == self.Role.USER or self.status == self.Status.STREAMING:
            return None
        return {name: getattr(self, name) for name in USAGE}

    @property
    def error(self) -> dict[str, str | bool] | None:
        if not self.error_code:
            return None
        return {"code": self.error_code, "detail": self.error_detail, "retryable": self.error_retryable}

    @property
    def notice(self) -> str | None:
        """Why a complete answer has no text, or ends early, for people. Any other answer has its `error`."""
        if self.role == self.Role.USER or self.status != self.Status.COMPLETE:
            return None
        reason = self.finish_reason or "stop"
        is_empty = not self.text.strip()
        if reason == "stop" and not is_empty:
            return None
        known = (WITHOUT_TEXT if is_empty else CUT_SHORT).get(reason)
        return str(known) if known else gettext("The model ended the answer here: %(reason)s.") % {"reason": reason}


class Title(Metered):
    """The one call of an LLM for the title of a session.

    It is stored before the call, so that no other worker makes it, and so that it counts even if its worker dies.
    """

    session = models.OneToOneField(Session, on_delete=models.CASCADE, primary_key=True, related_name="title")
    error_code = models.CharField(max_length=50, blank=True, help_text="Why there is none of it.")
    created_at = models.DateTimeField("created", default=timezone.now)

    def __str__(self) -> str:
        return f"Title of session {self.session_id}"


class ActiveAnswer(models.Model):
    """The answer that is being produced in a session, one at a time, by a worker that renews its lease."""

    session = models.OneToOneField(Session, on_delete=models.CASCADE, primary_key=True, related_name="run")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="run")
    worker = models.UUIDField()  # without an index: there are only as many rows as answers being produced
    lease_until = models.DateTimeField(help_text="When its worker is to be thought dead.")
    stop_requested = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"Run of message {self.message_id}"


class JournalEntry(models.Model):
    """A piece of an answer in production: text, thinking or another event.

    New text is a new row; no row is rewritten.
    """

    # without a constraint: storing an entry must not fail while its message is deleted; `expired_leases` removes it
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="journal", db_constraint=False)
    start = models.BigIntegerField(help_text="Places of the answer before it.")
    kind = models.CharField(max_length=20, default="text", db_default="text")
    text = models.TextField(help_text="What came; JSON where the kind is neither text nor thinking.")

    class Meta:
        ordering = ("start",)
        verbose_name_plural = "journal entries"

    def __str__(self) -> str:
        return f"{self.kind} from {self.start}"
