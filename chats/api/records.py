"""Sessions in the form that the contract prescribes."""

from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from chats.api.serializers import RecordSerializer
from chats.models import Session
from core.rest.operations import INTEGER_64, Parameter, documents
from core.rest.permissions import SignedIn
from core.rest.views import ResourceViewSet

USER = Parameter("user_id", INTEGER_64, "Your own id; an administrator may name anyone.")


class RecordViewSet(ResourceViewSet):
    """Sessions in the form of the contract."""

    queryset = Session.objects.all()
    serializer_class = RecordSerializer
    permission_classes = [SignedIn]
    http_method_names = ["get", "post", "delete", "head"]

    @documents("List the sessions of a user", "get", returns="many", parameters=(USER,))
    def list(self, request: Request) -> Response:
        user_id = self.integer("user_id")
        if user_id == self.user.pk:
            return self.answer_list(self.get_queryset())
        if not self.user.is_admin:
            raise PermissionDenied(f"These are not yours; your own id is {self.user.pk}.")
        return self.answer_list(self.queryset.filter(user=user_id))
