from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from rest_framework.response import Response

from aistudio.errors import InvalidParameter, VendorFailed
from aistudio.filters import BooleanFilter, NameFilter
from aistudio.operations import BEGINNING, INTEGER_64, NOT_BLANK, Parameter, operation
from aistudio.views import ResourceView, ResourceViewSet
from groups.permissions import Administrators
from llms.checks import MOST_TOKENS, SECONDS, check
from llms.models import LLM, LLMSettings
from llms.offers import models_of
from llms.serializers import (
    CheckSerializer,
    LLMSerializer,
    LLMSettingsSerializer,
    ModelSerializer,
    VendorSerializer,
)
from llms.vendors.errors import VendorError
from llms.vendors.registry import VENDORS, Vendor

LONGEST_NAME = LLMSettings._meta.get_field("model_name").max_length or 0
MIN_SCORE = Parameter("min_score", INTEGER_64, "The least privacy score.")
MAX_SCORE = Parameter("max_score", INTEGER_64, "The greatest privacy score.")
MODEL = Parameter("model", NOT_BLANK, "The model to ask; else the settings', the LLM's default.", required=False)
SETTINGS = Parameter("llm_settings", INTEGER_64, "The id of the settings to ask with.", required=False)


class LLMFilters(filters.FilterSet):
    name = NameFilter("name_folded")
    vendor = filters.CharFilter()
    active = BooleanFilter()


class LLMViewSet(ResourceViewSet):
    queryset = LLM.objects.all()
    serializer_class = LLMSerializer
    permission_classes = [Administrators]
    filterset_class = LLMFilters
    search_fields = ("name_folded",)
    sort_fields: ClassVar[dict[str, str]] = {
        "name": "name_folded",
        "vendor": "vendor",
        "privacy_score": "privacy_score",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    @operation(
        "Find LLMs by the beginning of their name",
        detail=False,
        path="search",
        returns="many",
        parameters=(Parameter("name", NOT_BLANK, BEGINNING),),
    )
    def search(self, request: Any) -> Response:
        return self.answer_search("name_folded", "name")

    @operation(
        "List LLMs up to a privacy score",
        detail=False,
        path="max-privacy-score",
        returns="many",
        parameters=(MAX_SCORE,),
    )
    def max_privacy_score(self, request: Any) -> Response:
        return self.answer_list(self.get_queryset().filter(privacy_score__lte=self.integer("max_score")))

    @operation(
        "List LLMs from a privacy score up",
        detail=False,
        path="min-privacy-score",
        returns="many",
        parameters=(MIN_SCORE,),
    )
    def min_privacy_score(self, request: Any) -> Response:
        return self.answer_list(self.get_queryset().filter(privacy_score__gte=self.integer("min_score")))

    @operation(
        "List LLMs between two privacy scores",
        detail=False,
        path="privacy-score-range",
        returns="many",
        parameters=(MIN_SCORE, MAX_SCORE),
    )
    def privacy_score_range(self, request: Any) -> Response:
        low, high = self.integer("min_score"), self.integer("max_score")
        if low > high:
            raise InvalidParameter("min_score", f"min_score {low} is above max_score {high}.")
        return self.answer_list(self.get_queryset().filter(privacy_score__range=(low, high)))

    @operation(
        f"Check whether {{a_noun}} answers, in at most {SECONDS} s and {MOST_TOKENS} tokens",
        detail=True,
        path="check",
        method="post",
        answers=CheckSerializer,
        parameters=(MODEL, SETTINGS),
        waits=True,
    )
    def check(self, request: Any, pk: int) -> Response:
        llm, model = self.get_object(), request.query_params.get("model", "").strip()
        if "\0" in model or len(model) > LONGEST_NAME:
            raise InvalidParameter("model", f"model must have at most {LONGEST_NAME} characters, no NUL.")
        return self.answer_one(check(llm=llm, settings=self.settings_asked_for(), model=model))

    def settings_asked_for(self) -> LLMSettings | None:
        if "llm_settings" not in self.request.query_params:
            return None
        number = self.integer("llm_settings")
        found: LLMSettings | None = LLMSettings.objects.visible_to(self.user).filter(pk=number).first()
        if found is None:
            raise InvalidParameter("llm_settings", f"There are no LLM settings with the id {number}.")
        return found

    @operation(
        "List the models that the vendor of an LLM offers",
        detail=True,
        path="models",
        returns="all",
        answers=ModelSerializer,
        fails=(HTTPStatus.FAILED_DEPENDENCY,),
        pagination_class=None,
    )
    def models(self, request: Any, pk: int) -> Response:
        try:
            names = models_of(self.get_object())
        except VendorError as error:
            raise VendorFailed(error.detail) from None
        if not self.speaks_jsonapi:
            return Response({"data": list(names)})
        return Response(ModelSerializer([SimpleNamespace(pk=name, name=name) for name in names], many=True).data)


class LLMSettingsFilters(filters.FilterSet):
    model_name = NameFilter("model_name_folded")


class LLMSettingsViewSet(ResourceViewSet):
    queryset = LLMSettings.objects.all()
    serializer_class = LLMSettingsSerializer
    permission_classes = [Administrators]
    filterset_class = LLMSettingsFilters
    search_fields = ("model_name_folded",)
    sort_fields: ClassVar[dict[str, str]] = {
        "model_name": "model_name_folded",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    @operation(
        "Find settings by the beginning of their model's name",
        detail=False,
        path="search",
        returns="many",
        parameters=(Parameter("model_name", NOT_BLANK, BEGINNING),),
    )
    def search(self, request: Any) -> Response:
        return self.answer_search("model_name_folded", "model_name")


class VendorViewSet(ResourceView):
    """The vendors that an LLM can be of."""

    serializer_class = VendorSerializer
    permission_classes = [Administrators]
    pagination_class = None

    @operation("List the vendors that an LLM can be of", detail=False, path="llm-drivers", returns="all")
    def llm_drivers(self, request: Any) -> Response:
        if not self.speaks_jsonapi:
            return Response({"data": list(VENDORS)})
        return Response(self.get_serializer([Vendor(*item) for item in VENDORS.items()], many=True).data)
