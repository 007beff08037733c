"""The query of a request: which parameters an operation has, and what they select."""

from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied

from core.rest.errors import InvalidParameter
from core.rest.filters import SortBackend
from core.rest.pagination import Pagination
from core.rest.resource import Selection
from core.rest.serializers import resource_schema

if TYPE_CHECKING:
    from core.rest.views import ResourceView


def read_query(view: "ResourceView") -> Selection:
    """What the query selects of an answer. Raises InvalidParameter and PermissionDenied for what is not possible."""
    if view.request.query_params or view.operation.parameters:
        check_parameters(view)
    if not view.request.query_params:
        return Selection()
    fields, answer = {}, view.answer_serializer
    for serializer in (answer, *answer.included_serializers.values()):
        schema = resource_schema(serializer)
        name, members = f"fields[{schema.type}]", schema.attributes + schema.relations
        if name in view.request.query_params:
            fields[schema.type] = frozenset(view.request.query_params[name].split(","))
            for field in view.request.query_params[name].split(","):
                if field and field not in members:
                    raise InvalidParameter(name, f"{schema.type} has no {field}; it has {', '.join(members)}.")
    include = tuple(filter(None, view.request.query_params.get("include", "").split(",")))
    restricted = getattr(answer.Meta, "restricted", {})
    for path in include:
        if path not in answer.included_serializers:
            names = ", ".join(answer.included_serializers) or "nothing"
            raise InvalidParameter("include", f"{path} cannot be included here; {names} can.")
        of_related = getattr(answer.included_serializers[path].Meta, "permission", "")
        for permission in filter(None, (restricted.get(path), of_related)):
            if not view.user.may(permission):
                raise PermissionDenied(f"Only administrators may include {path}.")
    return Selection(include, fields, view.request.META.get("QUERY_STRING", ""))


def check_parameters(view: "ResourceView") -> None:
    """Raise InvalidParameter for an unknown or repeated parameter, or if a required one is missing."""
    query, operation = view.request.query_params, view.operation
    known = {parameter.name for parameter in operation.parameters if parameter.place == "query"}
    if operation.returns in ("many", "identifiers"):
        assert isinstance(view.paginator, Pagination)
        known |= {name for names in view.paginator.about for name in names}
    if operation.returns == "many":
        known |= {"sort"} if SortBackend in view.filter_backends else set()
        known |= {"search"} if view.search_fields else set()
        known |= {f"filter[{name}]" for name in view.filterset_class.base_filters} if view.filterset_class else set()
    if view.request.accepted_renderer.format == "jsonapi" and operation.returns in ("one", "many"):
        answer = view.answer_serializer
        serializers = (answer, *answer.included_serializers.values())
        known |= {"include", *(f"fields[{resource_schema(serializer).type}]" for serializer in serializers)}
    for name, values in query.lists():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise InvalidParameter(name, f"There is no parameter {name} here. There are: {names}.", unknown=True)
        if len(values) > 1:
            raise InvalidParameter(name, f"{name} is there {len(values)} times; once is enough.")
    for parameter in operation.parameters:
        if parameter.required and not query.get(parameter.name, "").strip():
            raise InvalidParameter(parameter.name, f"{parameter.name} is missing. {parameter.description}")
