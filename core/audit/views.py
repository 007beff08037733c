"""The endpoints of the audit."""

from typing import ClassVar

from django_filters import rest_framework as filters

from core.audit.models import AuditEvent
from core.rest.fields import ObjectField
from core.rest.filters import FilterBackend, IdFilter, MomentFilter
from core.rest.operations import Operation
from core.rest.pagination import CursorPagination
from core.rest.serializers import ResourceSerializer
from core.rest.views import ResourceViewSet


class AuditEventFilters(filters.FilterSet):
    actor = IdFilter("actor_id")
    action = filters.ChoiceFilter(choices=AuditEvent.Action.choices)
    door = filters.ChoiceFilter(choices=AuditEvent.Door.choices)
    object_type = filters.ChoiceFilter(choices=lambda: [(name, name) for name in AuditEvent.object_types()])
    object_id = IdFilter()
    since = MomentFilter("created_at", "gte")
    until = MomentFilter("created_at", "lt")


class AuditEventSerializer(ResourceSerializer):
    changes = ObjectField(read_only=True, help_text=str(AuditEvent._meta.get_field("changes").help_text))

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


class AuditEventViewSet(ResourceViewSet):
    """The records of the audit, the newest first; nothing here changes them."""

    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    access_permission = change_permission = "audit.read"
    filterset_class = AuditEventFilters
    filter_backends = [FilterBackend]
    pagination_class = CursorPagination
    http_method_names = ["get", "head"]

    operations: ClassVar[dict[str, Operation]] = {
        "list": Operation("List what was done, the newest first", returns="many")
    }
