"""Users, groups and tokens, and signing in."""

from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar

from django.contrib.auth import login, logout
from django.db import transaction
from django.db.models import QuerySet
from django.middleware.csrf import get_token
from django_filters import rest_framework as filters
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from core.rest.filters import BooleanFilter, NameFilter
from core.rest.operations import BEGINNING, NOT_BLANK, Operation, Parameter, documents, extra_action
from core.rest.relationships import change_relation, relationship
from core.rest.views import ResourceView, ResourceViewSet
from groups import sign_in
from groups.authentication import SessionAuthentication
from groups.models import ApiToken, Group, User
from groups.serializers import (
    CredentialsSerializer,
    GroupSerializer,
    IssuedTokenSerializer,
    TokenSerializer,
    UserSerializer,
    UserWithKeySerializer,
)

NO_CONTENT: dict[str, Any] = {"returns": "nothing", "status": HTTPStatus.NO_CONTENT}
NAME = Parameter("name", NOT_BLANK, BEGINNING)


class GroupFilters(filters.FilterSet):
    name = NameFilter("name_folded")


class UserFilters(filters.FilterSet):
    email = NameFilter("email_folded")
    name = NameFilter("name_folded")
    is_admin = BooleanFilter()
    is_active = BooleanFilter()


USER_LISTS: dict[str, Any] = {
    "filterset_class": UserFilters,
    "search_fields": ("email_folded", "name_folded"),
    "sort_fields": {"email": "email_folded", "name": "name_folded", "created_at": "created_at"},
}
GROUP_LISTS: dict[str, Any] = {
    "filterset_class": GroupFilters,
    "search_fields": ("name_folded",),
    "sort_fields": {"name": "name_folded", "created_at": "created_at"},
}


class GroupViewSet(ResourceViewSet):
    """Groups: administrators see and change all, others read their own."""

    queryset = Group.objects.all()
    serializer_class = GroupSerializer
    change_permission = "groups.change"
    filterset_class = GroupFilters
    search_fields = ("name_folded",)
    sort_fields: ClassVar[dict[str, str]] = GROUP_LISTS["sort_fields"]

    members_relationship = relationship("members", read_permission="groups.read_members")

    @extra_action(
        "Find groups by the beginning of their name", detail=False, path="search", returns="many", parameters=(NAME,)
    )
    def search(self, request: Request) -> Response:
        return self.answer_search("name_folded", "name")

    @extra_action(
        "List the users of a group",
        detail=True,
        path="users",
        returns="many",
        answers=UserSerializer,
        read_permission="groups.read_members",
        **USER_LISTS,
    )
    def users(self, request: Request, pk: int) -> Response:
        return self.answer_list(self.get_object().members.all())

    @users.mapping.post
    @documents("Add a user to a group", "post", takes="identifier", relation="members", **NO_CONTENT)
    def add_user(self, request: Request, pk: int) -> Response:
        return change_relation(self, "members", "add")

    @extra_action(
        "Remove a user from a group",
        detail=True,
        path="users/<row_id:user_id>",
        method="delete",
        **NO_CONTENT,
    )
    def remove_user(self, request: Request, pk: int, user_id: int) -> Response:
        user = get_object_or_404(User.objects.visible_to(self.user), pk=user_id)
        with transaction.atomic():
            group = self.locked_object()
            self.check_precondition(group)
            group.members.remove(user)
        return Response(status=HTTPStatus.NO_CONTENT)


class UserViewSet(ResourceViewSet):
    """Users: administrators see and change all, others read themselves."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    change_permission = "users.change"
    filterset_class = UserFilters
    search_fields = USER_LISTS["search_fields"]
    sort_fields: ClassVar[dict[str, str]] = USER_LISTS["sort_fields"]

    groups_relationship = relationship("groups")

    @property
    def read_permission(self) -> str:  # type: ignore[override]
        return "users.read" if self.action == "list" else ""

    def locked_object(self, *, to_delete: bool = False) -> Any:
        sign_in.lock_administrators()  # first, so that two requests do not wait for each other
        return super().locked_object(to_delete=to_delete)

    def store(self, serializer: Any) -> None:
        with sign_in.an_administrator_remains():
            super().store(serializer)

    def remove(self, instance: User) -> None:
        with sign_in.an_administrator_remains():
            super().remove(instance)

    @extra_action("Get yourself", detail=False, path="me")
    def me(self, request: Request) -> Response:
        return self.answer_one(get_object_or_404(self.get_queryset(), pk=request.user.pk))

    @extra_action(
        "List the groups of a user",
        detail=True,
        path="groups",
        returns="many",
        answers=GroupSerializer,
        **GROUP_LISTS,
    )
    def groups(self, request: Request, pk: int) -> Response:
        return self.answer_list(Group.objects.visible_to(self.user).filter(members=self.get_object()))

    @extra_action(
        "Give a user a new key, in place of the one made here before",
        detail=True,
        path="roll-api-key",
        method="post",
        answers=UserWithKeySerializer,
        holds_secret=True,
    )
    def roll_api_key(self, request: Request, pk: int) -> Response:
        with transaction.atomic():
            user = super().locked_object()
            user.api_key = sign_in.roll_api_key(user=user, token_id=request.auth)  # type: ignore[arg-type]
            return self.answer_one(user)


class TokenViewSet(ResourceViewSet):
    """The tokens of the caller. To delete a token revokes it; the list still has it."""

    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    change_permission = ""
    sort_fields: ClassVar[dict[str, str]] = {"name": "name", "created_at": "created_at"}
    http_method_names = ["get", "post", "delete", "head"]
    operations: ClassVar[dict[str, Operation]] = {
        "create": Operation(
            "Issue a token; its key is in this answer alone",
            takes="resource",
            status=HTTPStatus.CREATED,
            answers=IssuedTokenSerializer,
            holds_secret=True,
        ),
        "destroy": Operation("Revoke a token", **NO_CONTENT),
    }

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.filter(user=self.user)

    def remove(self, instance: ApiToken) -> None:
        instance.revoke()


class AuthViewSet(ResourceView):
    """Sign-in for people in a browser: Django's session, with CSRF."""

    serializer_class = CredentialsSerializer
    permission_classes = [AllowAny]

    @extra_action("Get a CSRF cookie, whose value goes into X-CSRFToken", detail=False, path="login", **NO_CONTENT)
    def login(self, request: Request) -> Response:
        get_token(request._request)
        return Response(status=HTTPStatus.NO_CONTENT)

    @login.mapping.post
    @documents("Sign in", "post", takes="resource", answers=UserSerializer, repeatable=True)
    def sign_in(self, request: Request) -> Response:
        SessionAuthentication().enforce_csrf(request)
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        try:
            user = sign_in.sign_in(request=request._request, **serializer.validated_data)
        except sign_in.TooManyAttempts as error:
            raise Throttled(ceil(error.wait), str(error)) from None
        if user is None:
            raise AuthenticationFailed("The e-mail or the password is wrong, or the user is not active.")
        login(request._request, user)
        request.user = user
        return self.answer_one(user)

    @extra_action("Sign out", detail=False, path="logout", method="post", repeatable=True, **NO_CONTENT)
    def logout(self, request: Request) -> Response:
        SessionAuthentication().enforce_csrf(request)
        logout(request._request)
        return Response(status=HTTPStatus.NO_CONTENT)
