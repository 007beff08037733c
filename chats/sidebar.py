"""What stands beside every page of someone who is signed in: the chats they may use, and their conversations."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from chats.models import Chat
from groups.models import User

CHATS = 7  # the home page has all


@dataclass(frozen=True)
class Sidebar:
    chats: list[Chat]
    more_chats: bool


def sidebar(request: HttpRequest) -> dict[str, Any]:
    """A context processor: `sidebar`, which asks the database only where a page shows it."""
    return {"sidebar": SimpleLazyObject(lambda: sidebar_of(request.user))}  # type: ignore[arg-type]


def sidebar_of(user: User) -> Sidebar:
    chats = list(Chat.objects.visible_to(user).order_by("name_folded", "pk").only("name")[: CHATS + 1])
    return Sidebar(chats[:CHATS], len(chats) > CHATS)
