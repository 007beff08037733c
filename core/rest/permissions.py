"""Who may call what. Which rows they then find is `visible_to` of each queryset."""

from typing import Any

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission


class SignedIn(BasePermission):
    """Anyone signed in, and administrators alone where `may_member` says no."""

    message = "Only administrators may do this."

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user.is_authenticated:
            raise NotAuthenticated("Send a token in Authorization: Bearer <token>, or sign in.")
        return request.user.is_admin or self.may_member(request, view)

    def may_member(self, request: Any, view: Any) -> bool:
        return True


class Administrators(SignedIn):
    """Administrators alone."""

    def may_member(self, request: Any, view: Any) -> bool:
        return False


class AdministratorsOfVisible(SignedIn):
    """Administrators alone; to others what they cannot see is a 404, not a 403."""

    def may_member(self, request: Any, view: Any) -> bool:
        if view.detail:
            view.get_object()
        return False


class AdministratorsWrite(AdministratorsOfVisible):
    """Members read what they can see; only administrators change anything."""

    def may_member(self, request: Any, view: Any) -> bool:
        return request.method in SAFE_METHODS or super().may_member(request, view)
