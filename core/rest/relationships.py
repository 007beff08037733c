"""The endpoints of relations to many: what they show, and how they change them."""

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from core.audit.recording import recording
from core.rest.errors import Conflict
from core.rest.idempotent import COLLISION
from core.rest.operations import Operation
from core.rest.serializers import resource_schema

if TYPE_CHECKING:
    from core.rest.views import ResourceView

CHANGES = {"POST": "add", "PATCH": "set", "DELETE": "remove"}  # methods of Django's related managers


def relationship(relation: str, **options: Any) -> Any:
    """The endpoint of a relation to many: GET shows, POST adds, PATCH replaces, DELETE removes, all idempotent."""

    def view(self: "ResourceView", request: Request, pk: int) -> Response:
        if request.method not in ("GET", "HEAD"):
            return change_relation(self, relation, CHANGES[str(request.method)])
        related = getattr(self.get_object(), relation).all().visible_to(self.user).order_by("pk")
        kind = resource_schema(self.get_serializer_class()).related_types[relation]
        keys = self.paginate_queryset(related.values_list("pk", flat=True))
        return self.get_paginated_response([{"type": kind, "id": str(key)} for key in keys or ()])

    view.__name__ = f"{relation}_relationship"
    change = Operation("", takes="identifiers", returns="nothing", status=HTTPStatus.NO_CONTENT, relation=relation)
    view.operation = {  # type: ignore[attr-defined]
        "get": Operation(f"List the ids of the {relation} of {{a_noun}}", returns="identifiers", relation=relation),
        "post": replace(change, summary=f"Add {relation} to {{a_noun}}"),
        "patch": replace(change, summary=f"Replace the {relation} of {{a_noun}}"),
        "delete": replace(change, summary=f"Remove {relation} from {{a_noun}}"),
    }
    path = f"relationships/{relation}"
    return action(detail=True, methods=["get", "post", "patch", "delete"], url_path=path, **options)(view)


def change_relation(view: "ResourceView", relation: str, change: str) -> Response:
    """Add, set or remove the resources that the body names. To add what is there, or remove what is not, does nothing.

    Raises ValidationError for resources that the user cannot see.
    """
    field = view.get_serializer().fields[relation]
    try:
        with transaction.atomic(), recording():
            holder = view.locked_object()
            view.check_precondition(holder)
            manager, others = getattr(holder, relation), field.to_internal_value(view.body)
            if change == "set":
                manager.set(others)
            else:
                getattr(manager, change)(*others)
    except IntegrityError:  # one of them was deleted at this moment
        field.to_internal_value(view.body)
        raise Conflict(COLLISION) from None
    return Response(status=HTTPStatus.NO_CONTENT)
