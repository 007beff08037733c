"""The serializers of users, groups and tokens."""

from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from core.rest.fields import CharField, EmailField, RelationField
from core.rest.serializers import PlainSerializer, ResourceSerializer
from groups.models import ApiToken, Group, User
from groups.sign_in import lock_token

Values = dict[str, Any]  # what was validated, by field


class GroupSummarySerializer(ResourceSerializer):
    """A group as other resources show it: without its members."""

    class Meta:
        model = Group
        resource_name = "groups"
        fields: tuple[str, ...] = ("name", "created_at")
        read_only_fields = ("created_at",)
        contract_fields = ("name",)


class UserSerializer(ResourceSerializer):
    """A user. The password is written and never read."""

    included_serializers = {"groups": GroupSummarySerializer}
    password = CharField(
        write_only=True, required=False, allow_null=True, trim_whitespace=False, max_length=1_000,
        help_text="Checked for strength. Without one, the user cannot sign in; null takes it away.",
    )  # fmt: skip
    groups = RelationField(many=True, queryset=Group.objects.all(), required=False)

    class Meta:
        model = User
        resource_name = "users"
        fields: tuple[str, ...] = (
            "email",
            "name",
            "is_admin",
            "is_active",
            "password",
            "groups",
            "created_at",
            "last_login",
        )
        read_only_fields = ("created_at", "last_login")
        linked = ("groups",)

    def validate(self, attrs: Values) -> Values:
        if password := attrs.get("password"):
            known = User(email=attrs.get("email", getattr(self.instance, "email", "")), name=attrs.get("name", ""))
            try:
                validate_password(password, known)
            except DjangoValidationError as error:
                raise ValidationError({"password": error.messages}) from None
        if "password" in attrs or self.instance is None:
            # before the transaction: hashing takes long, and other writers would wait
            attrs["password"] = make_password(password or None)
        return attrs


class UserWithKeySerializer(UserSerializer):
    """A user with the new key, which is shown only once."""

    api_key = serializers.CharField(read_only=True)

    class Meta(UserSerializer.Meta):
        fields = (*UserSerializer.Meta.fields, "api_key")


class GroupSerializer(GroupSummarySerializer):
    """A group with its members, which only those see who may."""

    included_serializers = {"members": UserSerializer}
    members = RelationField(many=True, queryset=User.objects.all(), required=False)

    class Meta(GroupSummarySerializer.Meta):
        fields = ("name", "members", "created_at")
        on_request = ("members",)
        restricted = {"members": "groups.read_members"}
        linked = ("members",)


class CredentialsSerializer(PlainSerializer):
    """The body of a sign-in."""

    email = EmailField(max_length=254)
    password = CharField(write_only=True, trim_whitespace=False, max_length=1_000)

    class Meta:
        resource_name = "credentials"


class TokenSerializer(ResourceSerializer):
    """A token without its key. One that a token makes ends with that one, and no later."""

    class Meta:
        model = ApiToken
        resource_name = "tokens"
        path = "users/me/tokens"
        fields: tuple[str, ...] = ("name", "prefix", "expires_at", "created_at", "revoked_at", "last_used_at")
        read_only_fields = ("prefix", "created_at", "revoked_at", "last_used_at")

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= timezone.now():
            raise ValidationError("This must be a moment to come.")
        made_by = ApiToken.objects.filter(pk=self.context["request"].auth).first()
        latest = ApiToken.latest_end(made_by)
        if moment and latest and moment > latest:
            raise ValidationError(f"This must be {latest:%Y-%m-%dT%H:%M:%SZ} at the latest, or left out.")
        return moment

    def create(self, validated_data: Values) -> ApiToken:
        request = self.context["request"]
        token, key = ApiToken.issue(request.user, **validated_data, made_by=lock_token(request.auth))
        token.token = key  # type: ignore[attr-defined]
        return token


class IssuedTokenSerializer(TokenSerializer):
    """A token with its key, which is shown only once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")
