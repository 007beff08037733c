"""The table of POST requests with an `Idempotency-Key`."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class IdempotentRequest(models.Model):
    """A POST with an `Idempotency-Key`: it is being answered while `status` is null, and has its answer after that."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=500)
    key = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64, help_text="Of the query and the body, with its media type.")
    holder = models.UUIDField(help_text="The attempt that may answer.")
    lease_until = models.DateTimeField(help_text="When that attempt is to be thought dead.")
    status = models.PositiveSmallIntegerField(null=True, help_text="Of the answer, once there is one.")
    headers = models.JSONField(default=dict)
    content = models.TextField(blank=True)
    alternatives = models.JSONField(
        default=dict, db_default={}, help_text="The content in the other media types, by their names."
    )
    is_secret = models.BooleanField(default=False, help_text="Whether the answer held a secret, and is not kept.")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("user", "method", "path", "key"), name="idempotent_request_unique"),
        )

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.key}"
