"""The endpoints of relations to many: what they show, and how they change them."""

from http import HTTPStatus
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model
from rest_framework.response import Response

from core.audit.recording import recording
from core.rest.errors import Conflict
from core.rest.idempotent import COLLISION
from core.rest.operations import OperationView
from core.rest.serializers import resource_schema

CHANGES = {"POST": "add", "PATCH": "set", "DELETE": "remove"}  # methods of Django's related managers


class RelationshipMixin(OperationView):
    """For a view of resources, which gives the resource of the path."""

    @property
    def body(self) -> Any:
        raise NotImplementedError

    def locked_object(self, *, to_delete: bool = False) -> Any:
        raise NotImplementedError

    def check_precondition(self, instance: Model) -> None:
        raise NotImplementedError

    def answer_relationship(self, relation: str) -> Response:
        """Show or change a relation to many. To add what is there already, or remove what is not, does nothing."""
        if self.request.method not in ("GET", "HEAD"):
            return self.change_relation(relation, CHANGES[str(self.request.method)])
        related = getattr(self.get_object(), relation).all().visible_to(self.user).order_by("pk")
        kind = resource_schema(self.get_serializer_class()).related_types[relation]
        keys = self.paginate_queryset(related.values_list("pk", flat=True))
        return self.get_paginated_response([{"type": kind, "id": str(key)} for key in keys or ()])

    def change_relation(self, relation: str, change: str) -> Response:
        """Add, set or remove the resources that the body names."""
        try:
            with transaction.atomic(), recording():
                holder = self.locked_object()
                self.check_precondition(holder)
                manager, others = getattr(holder, relation), self.find_related(relation)
                if change == "set":
                    manager.set(others)
                else:
                    getattr(manager, change)(*others)
        except IntegrityError:  # one of them was deleted at this moment
            self.find_related(relation)
            raise Conflict(COLLISION) from None
        return Response(status=HTTPStatus.NO_CONTENT)

    def find_related(self, relation: str) -> list[Model]:
        """The resources that the body names for this relation; raises ValidationError for those the user cannot see."""
        return self.get_serializer().fields[relation].to_internal_value(self.body)
