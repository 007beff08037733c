"""Who may call what, by the names of permissions. Which rows callers then find is `visible_to` of each queryset."""

from typing import TYPE_CHECKING

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from core.rest.views import ResourceView


class NamedPermissions(BasePermission):
    """Asks `user.may` for what the view declares; an empty name stands for everyone who is signed in.

    `access_permission` is needed for everything. `read_permission` and `change_permission` are needed beside it; who
    lacks one gets 404 for a resource that they cannot see, and 403 otherwise.
    """

    message = "Only administrators may do this."

    def has_permission(self, request: Request, view: "ResourceView") -> bool:  # type: ignore[override]
        user = request.user
        if not user.is_authenticated:
            raise NotAuthenticated("Send a token in Authorization: Bearer <token>, or sign in.")
        if view.access_permission and not user.may(view.access_permission):
            return False
        needed = view.read_permission if request.method in SAFE_METHODS else view.change_permission
        if not needed or user.may(needed):
            return True
        if view.detail:
            view.get_object()  # 404, not 403, for what the caller cannot see
        return False
