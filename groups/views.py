from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib.auth import login, logout
from django.db import transaction
from django.db.models import QuerySet
from django.middleware.csrf import get_token
from django_filters import rest_framework as filters
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

from core.rest.errors import Conflict
from core.rest.filters import BooleanFilter, NameFilter
from core.rest.operations import BEGINNING, NOT_BLANK, Parameter, documents, extra_action, relationship
from core.rest.permissions import AdministratorsOfVisible, AdministratorsWrite, SignedIn
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


class UserPermission(AdministratorsWrite):
    def may_member(self, request: Any, view: Any) -> bool:
        return view.action != "list" and super().may_member(request, view)


class GroupViewSet(ResourceViewSet):
    queryset = Group.objects.all()
    serializer_class = GroupSerializer
    filterset_class = GroupFilters
    search_fields = ("name_folded",)
    sort_fields: ClassVar[dict[str, str]] = GROUP_LISTS["sort_fields"]

    members_relationship = relationship("members", permission_classes=[AdministratorsOfVisible])

    @extra_action(
        "Find groups by the beginning of their name", detail=False, path="search", returns="many", parameters=(NAME,)
    )
    def search(self, request: Any) -> Response:
        return self.answer_search("name_folded", "name")

    @extra_action(
        "List the users of a group",
        detail=True,
        path="users",
        returns="many",
        answers=UserSerializer,
        permission_classes=[AdministratorsOfVisible],
        **USER_LISTS,
    )
    def users(self, request: Any, pk: int) -> Response:
        return self.answer_list(self.get_object().members.all())

    @users.mapping.post
    @documents("Add a user to a group", "post", takes="identifier", relation="members", **NO_CONTENT)
    def add_user(self, request: Any, pk: int) -> Response:
        return self.change_relation("members", "add")

    @extra_action(
        "Remove a user from a group",
        detail=True,
        path="users/<int:user_id>",
        method="delete",
        permission_classes=[AdministratorsOfVisible],
        **NO_CONTENT,
    )
    def remove_user(self, request: Any, pk: int, user_id: int) -> Response:
        user = get_object_or_404(User.objects.visible_to(request.user), pk=user_id)
        with transaction.atomic():
            group = self.locked_object()
            self.check_precondition(group)
            group.members.remove(user)
        return Response(status=HTTPStatus.NO_CONTENT)


class UserViewSet(ResourceViewSet):
    queryset = User.objects.all()
    serializer_class = UserSerializer
    permission_classes = [UserPermission]
    filterset_class = UserFilters
    search_fields = USER_LISTS["search_fields"]
    sort_fields: ClassVar[dict[str, str]] = USER_LISTS["sort_fields"]

    groups_relationship = relationship("groups")

    def locked_object(self, *, to_delete: bool = False) -> Any:
        sign_in.lock_administrators()  # first, and always in one order: else two wait for each other
        return super().locked_object(to_delete=to_delete)

    def store(self, serializer: Any) -> None:
        with keeping_an_administrator():
            super().store(serializer)

    def remove(self, instance: User) -> None:
        with keeping_an_administrator():
            super().remove(instance)

    @extra_action("Get yourself", detail=False, path="me")
    def me(self, request: Any) -> Response:
        return self.answer_one(get_object_or_404(self.get_queryset(), pk=request.user.pk))

    @extra_action(
        "List the groups of a user",
        detail=True,
        path="groups",
        returns="many",
        answers=GroupSerializer,
        **GROUP_LISTS,
    )
    def groups(self, request: Any, pk: int) -> Response:
        return self.answer_list(Group.objects.visible_to(request.user).filter(members=self.get_object()))

    @extra_action(
        "Give a user a new key, in place of the one made here before",
        detail=True,
        path="roll-api-key",
        method="post",
        answers=UserWithKeySerializer,
        holds_secret=True,
    )
    def roll_api_key(self, request: Any, pk: int) -> Response:
        with transaction.atomic():
            user = super().locked_object()
            user.api_key = sign_in.roll_api_key(user=user)
            return self.answer_one(user)


@contextmanager
def keeping_an_administrator() -> Iterator[None]:
    try:
        with sign_in.an_administrator_remains():
            yield
    except sign_in.LastAdministrator as error:
        raise Conflict(str(error)) from None


class TokenViewSet(ResourceViewSet):
    """The caller's own tokens. Deleting one revokes it; the list goes on showing it."""

    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    permission_classes = [SignedIn]
    sort_fields: ClassVar[dict[str, str]] = {"name": "name", "created_at": "created_at"}
    http_method_names = ["get", "post", "delete", "head"]

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.filter(user=self.user)

    @documents(
        "Issue a token; its key is in this answer alone",
        "post",
        takes="resource",
        status=HTTPStatus.CREATED,
        answers=IssuedTokenSerializer,
        holds_secret=True,
    )
    def create(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().create(request, *args, **kwargs)

    @documents("Revoke a token", "delete", **NO_CONTENT)
    def destroy(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().destroy(request, *args, **kwargs)

    def remove(self, instance: ApiToken) -> None:
        instance.revoke()


class AuthViewSet(ResourceView):
    """Sign-in for people in a browser: Django's session, with CSRF."""

    serializer_class = CredentialsSerializer
    permission_classes = [AllowAny]

    @extra_action("Get a CSRF cookie, whose value goes into X-CSRFToken", detail=False, path="login", **NO_CONTENT)
    def login(self, request: Any) -> Response:
        get_token(request._request)
        return Response(status=HTTPStatus.NO_CONTENT)

    @login.mapping.post
    @documents("Sign in", "post", takes="resource", answers=UserSerializer, repeatable=True)
    def sign_in(self, request: Any) -> Response:
        SessionAuthentication().enforce_csrf(request)
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        try:
            user = sign_in.sign_in(request=request._request, **serializer.validated_data)
        except sign_in.TooManyAttempts as error:
            raise Throttled(sign_in.SIGN_IN_WINDOW.total_seconds(), str(error)) from None
        if user is None:
            raise AuthenticationFailed("The e-mail or the password is wrong, or the user is not active.")
        login(request._request, user)
        request.user = user
        return self.answer_one(user)

    @extra_action("Sign out", detail=False, path="logout", method="post", repeatable=True, **NO_CONTENT)
    def logout(self, request: Any) -> Response:
        SessionAuthentication().enforce_csrf(request)
        logout(request._request)
        return Response(status=HTTPStatus.NO_CONTENT)
