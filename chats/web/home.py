"""The first page: the chats that someone may use."""

from functools import reduce
from operator import and_
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from chats.access import no_chats_reason
from chats.models import Chat
from core.database.casefold import fold
from core.rest.filters import LONGEST_SEARCH
from core.web.decorators import page
from groups.models import User
from groups.sign_in import active_administrators

CHATS = 24  # on a page
ADMINISTRATORS = 5  # who are named


@page
def home(request: HttpRequest) -> HttpResponse:
    """The chats, or why there are none and whom to ask."""
    user = request.user
    assert isinstance(user, User)
    words = request.GET.get("q", "").replace("\0", "")[:LONGEST_SEARCH]
    somewhere = (Q(name_folded__contains=fold(word)) | Q(description__icontains=word) for word in words.split())
    chats = Chat.objects.visible_to(user).filter(reduce(and_, somewhere, Q())).order_by("name_folded", "pk")
    shown = Paginator(chats.only("name", "description"), CHATS).get_page(request.GET.get("page"))
    context: dict[str, Any] = {"chats": shown, "words": words}
    if not shown and not words:
        context |= {"reason": no_chats_reason(user), "administrators": list(active_administrators()[:ADMINISTRATORS])}
    return render(request, "chats/home.html", context)
