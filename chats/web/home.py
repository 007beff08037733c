"""The first page: the chats that someone may use."""

from functools import reduce
from operator import and_
from typing import NotRequired, TypedDict

from django.core.paginator import Page, Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render

from chats.access import no_chats_reason
from chats.models import Chat
from core.database.casefold import fold
from core.rest.filters import LONGEST_SEARCH
from core.web.decorators import page
from groups.models import User
from groups.pages import SignedInRequest
from groups.sign_in import active_administrators

CHATS = 24  # on a page
ADMINISTRATORS = 5  # that are named


class HomeContext(TypedDict):
    """The context of the first page. Without any chat, it says why, and which administrators to ask."""

    chats: Page[Chat]
    words: str
    reason: NotRequired[str]
    administrators: NotRequired[list[User]]


@page
def home(request: SignedInRequest) -> HttpResponse:
    """The user's chats, or the reason why there are none."""
    words = request.GET.get("q", "").replace("\0", "")[:LONGEST_SEARCH]
    conditions = (Q(name_folded__contains=fold(word)) | Q(description__icontains=word) for word in words.split())
    chats = Chat.objects.visible_to(request.user).filter(reduce(and_, conditions, Q())).order_by("name_folded", "pk")
    chat_page = Paginator(chats.only("name", "description"), CHATS).get_page(request.GET.get("page"))
    context: HomeContext = {"chats": chat_page, "words": words}
    if not chat_page and not words:
        context["reason"] = no_chats_reason(request.user)
        context["administrators"] = list(active_administrators()[:ADMINISTRATORS])
    return render(request, "chats/home.html", context)
