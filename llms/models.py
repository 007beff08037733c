"""The LLMs that the organisation trusts, and settings to call them with."""

import json
from typing import Self, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from core.audit.recording import Audited
from core.database.casefold import CasefoldedCharField, NameField, UniqueCasefolded
from core.database.encryption import EncryptedField, EncryptedStr, encrypt
from groups.models import User
from llms.endpoints import server_of, validate_endpoint, validate_http_url
from llms.vendors.registry import VENDORS

MOST_STRINGS = 100
LONGEST_STRING = 200
LONGEST_METADATA = 20_000
LARGEST_COUNT = 2**31 - 1
LAST_SHOWN = 4  # characters of a key that administrators may see
KEY_NEEDED = (
    "The stored key was given for another server. With a new vendor, or another scheme, host or port of the endpoint, "
    "enter the key again or clear it."
)
SHORTEST_KEY_SHOWN = 16  # of a shorter key nothing is shown, because the rest could be guessed

M = TypeVar("M", bound=models.Model)


def string_list(value: object) -> None:
    """Raise ValidationError unless this is a list of strings that are not empty, within our limits."""
    if not isinstance(value, list) or any(not isinstance(item, str) or not item for item in value):
        raise ValidationError('This must be a list of strings that are not empty, such as ["a", "b"].')
    if len(value) > MOST_STRINGS or any(len(item) > LONGEST_STRING for item in value):
        raise ValidationError(f"This must have at most {MOST_STRINGS} strings of at most {LONGEST_STRING} characters.")


def json_object(value: object) -> None:
    """Raise ValidationError unless this is a JSON object, within our limit."""
    if not isinstance(value, dict):
        raise ValidationError('This must be a JSON object, such as {"team": "research"}.')
    if len(json.dumps(value)) > LONGEST_METADATA:
        raise ValidationError(f"This must have at most {LONGEST_METADATA:,} characters of JSON.")


def within(field: str, low: float, high: float) -> models.CheckConstraint:
    """A constraint: the field is null, or from `low` to `high`, both included."""
    return models.CheckConstraint(
        condition=Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__range": (low, high)}),
        name=f"%(class)s_{field}_range",
        violation_error_message=f"{field} must be from {low} to {high}.",
    )


def limits(low: float, high: float) -> list[BaseValidator]:
    """Validators of a number from `low` to `high`, both included."""
    return [MinValueValidator(low), MaxValueValidator(high)]


class LLMQuerySet(models.QuerySet[M]):
    """Which LLMs or settings a user may see."""

    def visible_to(self, user: User) -> Self:
        """All rows with the permission `llms.read`, else none."""
        return self if user.may("llms.read") else self.none()


class LLM(Audited):
    """A language model at a vendor, with the key to it."""

    name = NameField(max_length=200)
    name_folded = CasefoldedCharField("name")
    vendor = models.CharField(max_length=32, choices=VENDORS)
    api_endpoint = models.CharField(
        "API endpoint",
        max_length=500,
        blank=True,
        validators=[validate_endpoint],
        help_text="The base URL as the vendor's own clients take it, such as https://api.example.com/v1. "
        "If empty, the vendor's own.",
    )
    api_key: "models.TextField[EncryptedStr, EncryptedStr]" = EncryptedField(
        "API key", blank=True, default="", editable=False
    )
    api_key_end = models.CharField(max_length=LAST_SHOWN, blank=True, editable=False)
    default_model = NameField(max_length=200, blank=True, help_text="Used if the settings of a chat name no model.")
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[string_list],
        help_text='The models that chats may use, such as ["small", "large"]. If empty, any.',
    )
    privacy_score = models.PositiveSmallIntegerField(
        default=0, validators=limits(0, 100), help_text="From 0 to 100: how private the data that it gets may be."
    )
    short_description = models.CharField(max_length=500, blank=True)
    long_description = models.TextField(max_length=20_000, blank=True)
    logo_url = models.CharField("logo URL", max_length=500, blank=True, validators=[validate_http_url])
    active = models.BooleanField(default=True, help_text="Chats of an LLM that is not active take no questions.")
    created_at = models.DateTimeField("created", auto_now_add=True)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects = LLMQuerySet.as_manager()

    audited_as = "llms"
    unaudited = frozenset({"api_key_end"})

    class Meta:
        verbose_name = "LLM"
        ordering = ("name_folded", "id")
        constraints = (
            UniqueCasefolded("name_folded", name="llm_name_unique"),
            within("privacy_score", 0, 100),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def has_api_key(self) -> bool:
        return bool(self.api_key)

    def keeps_key_at(self, *, vendor: str, api_endpoint: str) -> bool:
        """Whether its key may be used with these new values: a stored key is never sent to another server.

        Otherwise whoever may change an LLM could read its key, at a server of their own. Raises ValueError for what
        is no URL.
        """
        return not self.has_api_key or server_of(vendor, api_endpoint) == server_of(self.vendor, self.api_endpoint)

    def set_api_key(self, key: str) -> None:
        """Set the key, which is stored encrypted. "" removes it. The caller saves."""
        self.api_key = encrypt(key)
        self.api_key_end = key[-LAST_SHOWN:] if len(key) >= SHORTEST_KEY_SHOWN else ""


class LLMSettings(Audited):
    """How an LLM is called. Null is not sent to the vendor, 0 is."""

    model_name = NameField(max_length=200, blank=True, help_text="If empty, the LLM's default model.")
    model_name_folded = CasefoldedCharField("model_name")
    temperature = models.FloatField(null=True, blank=True, validators=limits(0, 2))
    max_tokens = models.IntegerField(
        null=True, blank=True, validators=limits(1, LARGEST_COUNT), help_text="The most tokens that an answer may have."
    )
    top_p = models.FloatField("top p", null=True, blank=True, validators=limits(0, 1))
    top_k = models.IntegerField("top k", null=True, blank=True, validators=limits(0, LARGEST_COUNT))
    min_length = models.IntegerField(null=True, blank=True, validators=limits(0, LARGEST_COUNT))
    max_length = models.IntegerField(
        null=True,
        blank=True,
        validators=limits(0, LARGEST_COUNT),
        help_text="The most tokens of history and question together. If empty, the model's context window decides.",
    )
    repetition_penalty = models.FloatField(null=True, blank=True, validators=limits(0, 2))
    seed = models.BigIntegerField(null=True, blank=True, validators=limits(-(2**63), 2**63 - 1))
    stop_words = models.JSONField(default=list, blank=True, validators=[string_list])
    metadata = models.JSONField(default=dict, blank=True, validators=[json_object])
    system_prompt = models.TextField(max_length=100_000, blank=True)
    created_at = models.DateTimeField("created", auto_now_add=True)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects = LLMQuerySet.as_manager()

    audited_as = "llm-settings"

    class Meta:
        verbose_name = verbose_name_plural = "LLM settings"
        ordering = ("model_name_folded", "id")
        constraints = (
            within("temperature", 0, 2),
            within("top_p", 0, 1),
            within("repetition_penalty", 0, 2),
            within("max_tokens", 1, LARGEST_COUNT),
            within("top_k", 0, LARGEST_COUNT),
            within("min_length", 0, LARGEST_COUNT),
            within("max_length", 0, LARGEST_COUNT),
        )

    def __str__(self) -> str:
        return f"{self.model_name or 'default model'} (settings {self.pk})"
