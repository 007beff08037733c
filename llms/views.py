from typing import ClassVar

from django_filters import rest_framework as filters
from rest_framework.request import Request
from rest_framework.response import Response

from core.rest.errors import InvalidParameter
from core.rest.filters import BooleanFilter, NameFilter
from core.rest.operations import BEGINNING, INTEGER_64, NOT_BLANK, Parameter, extra_action
from core.rest.views import ResourceView, ResourceViewSet
from llms.models import LLM, LLMSettings
from llms.serializers import LLMSerializer, LLMSettingsSerializer, VendorSerializer
from llms.vendors.registry import VENDORS, VendorInfo

MIN_SCORE = Parameter("min_score", INTEGER_64, "The lowest privacy score.")
MAX_SCORE = Parameter("max_score", INTEGER_64, "The highest privacy score.")


class LLMFilters(filters.FilterSet):
    name = NameFilter("name_folded")
    vendor = filters.CharFilter()
    active = BooleanFilter()


class LLMViewSet(ResourceViewSet):
    """LLMs, for administrators."""

    queryset = LLM.objects.all()
    serializer_class = LLMSerializer
    access_permission, change_permission = "llms.read", "llms.change"
    filterset_class = LLMFilters
    search_fields = ("name_folded",)
    sort_fields: ClassVar[dict[str, str]] = {
        "name": "name_folded",
        "vendor": "vendor",
        "privacy_score": "privacy_score",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    @extra_action(
        "Find LLMs by the beginning of their name",
        detail=False,
        path="search",
        returns="many",
        parameters=(Parameter("name", NOT_BLANK, BEGINNING),),
    )
    def search(self, request: Request) -> Response:
        return self.answer_search("name_folded", "name")

    @extra_action(
        "List LLMs up to a privacy score",
        detail=False,
        path="max-privacy-score",
        returns="many",
        parameters=(MAX_SCORE,),
    )
    def max_privacy_score(self, request: Request) -> Response:
        return self.answer_list(self.get_queryset().filter(privacy_score__lte=self.integer("max_score")))

    @extra_action(
        "List LLMs from a privacy score up",
        detail=False,
        path="min-privacy-score",
        returns="many",
        parameters=(MIN_SCORE,),
    )
    def min_privacy_score(self, request: Request) -> Response:
        return self.answer_list(self.get_queryset().filter(privacy_score__gte=self.integer("min_score")))

    @extra_action(
        "List LLMs between two privacy scores",
        detail=False,
        path="privacy-score-range",
        returns="many",
        parameters=(MIN_SCORE, MAX_SCORE),
    )
    def privacy_score_range(self, request: Request) -> Response:
        low, high = self.integer("min_score"), self.integer("max_score")
        if low > high:
            raise InvalidParameter("min_score", f"min_score {low} is above max_score {high}.")
        return self.answer_list(self.get_queryset().filter(privacy_score__range=(low, high)))


class LLMSettingsFilters(filters.FilterSet):
    model_name = NameFilter("model_name_folded")


class LLMSettingsViewSet(ResourceViewSet):
    """Settings of LLMs, for administrators."""

    queryset = LLMSettings.objects.all()
    serializer_class = LLMSettingsSerializer
    access_permission, change_permission = "llms.read", "llms.change"
    filterset_class = LLMSettingsFilters
    search_fields = ("model_name_folded",)
    sort_fields: ClassVar[dict[str, str]] = {
        "model_name": "model_name_folded",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }

    @extra_action(
        "Find settings by the beginning of their model's name",
        detail=False,
        path="search",
        returns="many",
        parameters=(Parameter("model_name", NOT_BLANK, BEGINNING),),
    )
    def search(self, request: Request) -> Response:
        return self.answer_search("model_name_folded", "model_name")


class VendorViewSet(ResourceView):
    """The vendors that an LLM can belong to."""

    serializer_class = VendorSerializer
    access_permission, change_permission = "llms.read", "llms.change"
    pagination_class = None

    @extra_action("List the vendors that an LLM can belong to", detail=False, path="llm-drivers", returns="all")
    def llm_drivers(self, request: Request) -> Response:
        if self.request.accepted_renderer.format != "jsonapi":
            return Response({"data": list(VENDORS)})
        return Response(self.get_serializer().represent([VendorInfo(*item) for item in VENDORS.items()], is_many=True))
