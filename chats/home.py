"""The first page: the chats that someone may use."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from chats.models import Chat
from groups.models import User


@login_required
def home(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    chats = Chat.objects.visible_to(request.user).order_by("name_folded", "pk")
    return render(request, "chats/home.html", {"chats": chats})
