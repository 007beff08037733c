"""The endpoints of the audit."""

from django_filters import rest_framework as filters
from rest_framework.request import Request
from rest_framework.response import Response

from core.audit.models import AuditEvent
from core.rest.filters import FilterBackend, IdFilter
from core.rest.operations import documents
from core.rest.pagination import CursorPagination
from core.rest.serializers import ResourceSerializer
from core.rest.views import ResourceView


class AuditEventFilters(filters.FilterSet):
    actor = IdFilter("actor_id")
    action = filters.ChoiceFilter(choices=AuditEvent.Action.choices)
    door = filters.ChoiceFilter(choices=AuditEvent.Door.choices)
    object_type = filters.ChoiceFilter(choices=lambda: [(name, name) for name in AuditEvent.object_types()])
    object_id = IdFilter()
    since = filters.IsoDateTimeFilter("created_at", "gte")
    until = filters.IsoDateTimeFilter("created_at", "lt")


class AuditEventSerializer(ResourceSerializer):
    class Meta:
        model = AuditEvent
        resource_name = "audit-events"
        permission = "audit.read"
        fields = (
            "created_at",
            "action",
            "actor_id",
            "actor_name",
            "door",
            "address",
            "request_id",
            "object_type",
            "object_id",
            "object_name",
            "changes",
            "detail",
        )
        read_only_fields = fields


class AuditEventViewSet(ResourceView):
    """The records of the audit, the newest first; nothing here changes them."""

    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    access_permission = change_permission = "audit.read"
    filterset_class = AuditEventFilters
    filter_backends = [FilterBackend]
    pagination_class = CursorPagination
    http_method_names = ["get", "head"]

    @documents("List what was done, the newest first", "get", returns="many")
    def list(self, request: Request) -> Response:
        return self.answer_list(self.get_queryset())

    def retrieve(self, request: Request, pk: int) -> Response:
        return self.answer_one(self.get_object())
