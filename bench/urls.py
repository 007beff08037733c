"""The API, and the least that Django can do for the same answers: what the benchmark compares with.

The bare views run behind the same middleware, check the same tokens and send the same queries; in place of Django REST
framework, serializers and renderers they have a dictionary and json.dumps.
"""

import json
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from aistudio.urls import handler400, handler403, handler404, handler500, urlpatterns
from chats.models import Chat
from groups.models import ApiToken, Group

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


def chats_of_caller(request: HttpRequest) -> QuerySet[Chat]:
    user = ApiToken.user_of(request.headers["Authorization"].removeprefix("Bearer "))
    assert user
    groups = Prefetch("groups", Group.objects.visible_to(user))
    return Chat.objects.visible_to(user).prefetch_related(groups).order_by("pk")


def as_json(chat: Chat) -> dict[str, Any]:
    attributes = {
        "name": chat.name,
        "description": chat.description,
        "system_prompt": chat.system_prompt,
        "created_at": chat.created_at.isoformat(),
        "updated_at": chat.updated_at.isoformat(),
        "llm_id": chat.llm_id,
        "llm_settings_id": chat.llm_settings_id,
        "groups": [
            {
                "type": "groups",
                "id": str(item.pk),
                "attributes": {"name": item.name, "created_at": str(item.created_at)},
            }
            for item in chat.groups.all()
        ],
    }
    return {"type": "chats", "id": str(chat.pk), "attributes": attributes}


def read(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(json.dumps(as_json(chats_of_caller(request).get(pk=pk))), content_type="application/json")


def read_many(request: HttpRequest) -> HttpResponse:
    chats, size = chats_of_caller(request), int(request.GET["page_size"])
    count = chats.count()
    resources = [as_json(chat) for chat in chats[:size]]
    return JsonResponse(resources, safe=False, headers={"X-Total-Count": str(count)})


urlpatterns = [path("bare/chats/<int:pk>", read), path("bare/chats", read_many), *urlpatterns]
