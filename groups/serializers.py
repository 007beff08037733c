from aistudio.serializers import ResourceSerializer
from groups.models import Group


class GroupSerializer(ResourceSerializer):
    class Meta:
        model = Group
        resource_name = "groups"
        contract_fields = ("name",)
        fields = ("name", "created_at")
        read_only_fields = ("created_at",)
