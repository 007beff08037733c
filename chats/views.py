from typing import ClassVar

from django.db.models import Prefetch, QuerySet
from django_filters import rest_framework as filters

from aistudio.filters import IdFilter, NameFilter
from aistudio.views import CreateReadViewSet
from chats.models import Chat
from chats.serializers import ChatSerializer
from groups.models import Group


class ChatFilters(filters.FilterSet):
    name = NameFilter("name_folded")
    llm = IdFilter("llm_id")
    groups = IdFilter(method="of_group")

    def of_group(self, chats: QuerySet[Chat], name: str, group_id: int) -> QuerySet[Chat]:
        """Those of a group that the caller may see: which others a chat has is not theirs to find out."""
        return chats.filter(groups__in=Group.objects.visible_to(self.request.user).filter(pk=group_id))


class ChatViewSet(CreateReadViewSet):
    queryset = Chat.objects.all()
    serializer_class = ChatSerializer
    filterset_class = ChatFilters
    sort_fields: ClassVar[dict[str, str]] = {
        "name": "name_folded",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    def prefetches(self) -> list[Prefetch]:
        return [Prefetch("groups", Group.objects.visible_to(self.user))]
