"""Explains why a user may or may not use a chat. `visible_to` decides; this module only words it."""

from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from chats.models import Chat
from groups.models import Group, User


@dataclass(frozen=True)
class Explanation:
    """Whether a user may use a chat. `code` is for programs, `detail` for people; `groups` are those that decide."""

    pk: str  # as the API has it
    user_id: int
    chat_id: int
    allowed: bool
    code: str
    detail: str
    groups: list[str] = field(default_factory=list)


def explain_access(*, user: User, chat: Chat) -> Explanation:
    """Whether the user may use the chat, through which groups, or what is missing."""
    groups = list(chat.groups.all())
    own = set(user.groups.values_list("pk", flat=True))
    shared = [group.name for group in groups if group.pk in own]
    allowed = user.is_active and Chat.objects.visible_to(user).filter(pk=chat.pk).exists()
    if allowed and user.may("chats.read"):
        code, detail, deciding = "administrator", f"{user} is an administrator, who may use every chat.", shared
    elif allowed:
        code, detail, deciding = "member", f"{user} belongs to {', '.join(shared)}.", shared
    elif not user.is_active:
        code, detail, deciding = "inactive", f"{user} is not active, so nothing is open to them; activate the user.", []
    elif not groups:
        code, detail, deciding = (
            "no_groups",
            f"{chat} has no groups, so it is for administrators only; add a group to it.",
            [],
        )
    else:
        deciding = [group.name for group in groups]
        code = "not_member"
        detail = f"{chat} is open to {', '.join(deciding)}; {user} belongs to none of them. {access_summary(user)}"
    return Explanation(f"{chat.pk}-{user.pk}", user.pk, chat.pk, allowed, code, detail, deciding)


def access_summary(user: User) -> str:
    """The chats that the user may use, or why there are none, for an administrator."""
    if not user.is_active:
        return f"{user} is not active, so nothing is open to them."
    chats = Chat.objects.visible_to(user).order_by("name_folded")
    if total := chats.count():
        shown = ", ".join(str(chat) for chat in chats[:10])
        return f"They may use {total} chat{'s' if total > 1 else ''}: {shown}{' and more' if total > 10 else ''}."
    groups = [str(group) for group in Group.objects.filter(members=user)]
    if user.may("chats.read"):
        return "There is no chat yet."
    if not groups:
        return "They belong to no group at all, so there is no chat for them; add them to a group."
    return f"No chat is open to their groups, {', '.join(groups)}; add one of these to a chat."


def no_chats_reason(user: User) -> str:
    """Why a user may use no chat, for that user."""
    if user.may("chats.read"):
        return _("There is no chat yet.")
    groups = [str(group) for group in Group.objects.filter(members=user)]
    if not groups:
        return _("Chats are open to groups of people, and you belong to no group yet.")
    return _("Chats are open to groups of people, and none is open to yours: %(groups)s.") % {
        "groups": ", ".join(groups)
    }
