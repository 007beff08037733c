from http import HTTPStatus
from types import SimpleNamespace

from rest_framework.request import Request
from rest_framework.response import Response

from core.rest.errors import InvalidParameter, VendorFailed
from core.rest.operations import INTEGER_64, NOT_BLANK, Parameter, extra_action
from core.rest.views import ResourceView
from llms.models import LLM, LLMSettings
from llms.serializers import LLMSerializer
from llms.vendors.errors import VendorError
from usage.checks import MOST_TOKENS, SECONDS, check
from usage.model_list import models_of
from usage.serializers import CheckSerializer, ModelSerializer

LONGEST_NAME = LLMSettings._meta.get_field("model_name").max_length or 0
MODEL = Parameter(
    "model", NOT_BLANK, "The model to ask. Without it, that of the settings, else the LLM's default.", required=False
)
SETTINGS = Parameter("llm_settings", INTEGER_64, "The id of the LLM settings to ask with.", required=False)


class LLMCallViewSet(ResourceView):
    """The actions of an LLM that call its vendor: a check, and the list of the vendor's models."""

    queryset = LLM.objects.all()
    serializer_class = LLMSerializer
    access_permission = change_permission = "llms.call"

    @extra_action(
        f"Check whether {{a_noun}} answers, in at most {SECONDS} s and {MOST_TOKENS} tokens",
        detail=True,
        path="check",
        method="post",
        answers=CheckSerializer,
        parameters=(MODEL, SETTINGS),
        waits=True,
    )
    def check(self, request: Request, pk: int) -> Response:
        model = request.query_params.get("model", "").strip()
        if "\0" in model or len(model) > LONGEST_NAME:
            raise InvalidParameter("model", f"model must have at most {LONGEST_NAME} characters, no NUL.")
        llm, settings = self.get_object(), None
        if "llm_settings" in request.query_params:
            number = self.integer("llm_settings")
            settings = LLMSettings.objects.visible_to(self.user).filter(pk=number).first()
            if settings is None:
                raise InvalidParameter("llm_settings", f"There are no LLM settings with the id {number}.")
        return self.answer_one(check(llm=llm, settings=settings, model=model))

    @extra_action(
        "List the models that the vendor of an LLM offers",
        detail=True,
        path="models",
        returns="all",
        answers=ModelSerializer,
        fails=(HTTPStatus.FAILED_DEPENDENCY,),
        pagination_class=None,
    )
    def models(self, request: Request, pk: int) -> Response:
        try:
            names = models_of(self.get_object())
        except VendorError as error:
            raise VendorFailed(error.detail) from None
        if self.request.accepted_renderer.format != "jsonapi":
            return Response({"data": list(names)})
        return Response(
            ModelSerializer().represent([SimpleNamespace(pk=name, name=name) for name in names], is_many=True)
        )
