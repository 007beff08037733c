from rest_framework import serializers

from core.rest.serializers import PlainSerializer


class StepSerializer(serializers.Serializer):
    name = serializers.CharField(read_only=True)
    passed = serializers.BooleanField(read_only=True, allow_null=True)
    detail = serializers.CharField(read_only=True)


class CheckSerializer(PlainSerializer):
    """The result of checking an LLM: whether it answers; if not, what is wrong and what to do. Its id is the LLM's."""

    ok = serializers.BooleanField(read_only=True)
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    advice = serializers.CharField(read_only=True)
    model = serializers.CharField(read_only=True)
    steps = StepSerializer(many=True, read_only=True)
    first_token_ms = serializers.IntegerField(read_only=True, allow_null=True)
    duration_ms = serializers.IntegerField(read_only=True)
    input_tokens = serializers.IntegerField(read_only=True, allow_null=True)
    output_tokens = serializers.IntegerField(read_only=True, allow_null=True)
    models = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        resource_name = "llm-checks"
        path = ""


class ModelSerializer(PlainSerializer):
    """A model that a vendor lists. Its id is the name."""

    name = serializers.CharField(read_only=True)

    class Meta:
        resource_name = "models"
        path = ""
