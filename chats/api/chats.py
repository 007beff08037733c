from typing import ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework.request import Request
from rest_framework.response import Response

from chats.access import explain_access
from chats.api.serializers import ChatSerializer, ExplanationSerializer
from chats.models import Chat
from core.rest.errors import InvalidParameter
from core.rest.filters import IdFilter, NameFilter
from core.rest.operations import INTEGER_64, Parameter, extra_action
from core.rest.relationships import relationship
from core.rest.views import ResourceViewSet
from groups.models import Group, User


class ChatFilters(filters.FilterSet):
    name = NameFilter("name_folded")
    llm = IdFilter("llm_id")
    groups = IdFilter(method="of_group")

    def of_group(self, chats: QuerySet[Chat], name: str, group_id: int) -> QuerySet[Chat]:
        """Only for groups that the caller may see, so that nobody finds out which others a chat has."""
        return chats.filter(groups__in=Group.objects.visible_to(self.request.user).filter(pk=group_id))


class ChatViewSet(ResourceViewSet):
    """Chats: administrators see and change all, members read those of their groups."""

    queryset = Chat.objects.all()
    serializer_class = ChatSerializer
    change_permission = "chats.change"
    filterset_class = ChatFilters
    search_fields = ("name_folded",)
    sort_fields: ClassVar[dict[str, str]] = {
        "name": "name_folded",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    groups_relationship = relationship("groups")

    @extra_action(
        "List the chats of a group",
        detail=False,
        path="by-group",
        returns="many",
        parameters=(Parameter("group_id", INTEGER_64, "The id of a group."),),
    )
    def by_group(self, request: Request) -> Response:
        group = Group.objects.visible_to(self.user).filter(pk=self.integer("group_id"))
        return self.answer_list(self.get_queryset().filter(groups__in=group))

    @extra_action(
        "Explain whether a user may use a chat, and why",
        detail=True,
        path="explain-access",
        answers=ExplanationSerializer,
        parameters=(Parameter("user", INTEGER_64, "The id of a user."),),
        read_permission="chats.explain",
    )
    def explain_access(self, request: Request, pk: int) -> Response:
        chat = self.get_object()
        user = User.objects.visible_to(self.user).filter(pk=self.integer("user")).first()
        if user is None:
            raise InvalidParameter("user", f"There is no user with the id {request.query_params['user']}.")
        return self.answer_one(explain_access(user=user, chat=chat))
