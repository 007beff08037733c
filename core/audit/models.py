"""The table of the audit."""

from typing import Any, NoReturn, Self

from django.db import models
from django.utils import timezone

from core.audit import recording
from core.audit.recording import Audited, Encoder
from core.rest.visible import Caller


def refuse_change(rows: object, *args: object, **options: object) -> NoReturn:
    raise TypeError("Records of the audit are never changed, and deleted by manage.py prune_audit alone.")


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Records can be added, and deleted by `prune_audit`, but not changed."""

    def visible_to(self, user: Caller) -> Self:
        """All with the permission `audit.read`, else none."""
        return self if user.may("audit.read") else self.none()

    update = delete = refuse_change


class AuditEvent(models.Model):
    """What someone did. It has no foreign keys, so that it outlives the rows that it names."""

    class Action(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        DELETED = "deleted"
        SIGNED_IN = "signed_in"
        SIGNED_OUT = "signed_out"
        SIGN_IN_REFUSED = "sign_in_refused"
        PRUNED = "pruned"
        RESTORED = recording.RESTORED

    class Door(models.TextChoices):
        API = "api", "API"
        ADMIN = "admin"
        PAGE = "page"
        COMMAND = "command"

    PRUNED_TYPE = "audit-events"  # these records themselves

    created_at = models.DateTimeField("when", default=timezone.now, db_index=True)
    action = models.CharField(max_length=20, choices=Action)
    actor_id = models.BigIntegerField(null=True, help_text="The id of the user who did it; none for a command.")
    actor_name = models.CharField(
        "who", max_length=300, blank=True, help_text="Their e-mail; of a command, whose it was and which."
    )
    door = models.CharField(max_length=10, choices=Door)
    address = models.CharField(max_length=45, null=True, help_text="Where the request came from.")  # noqa: DJ001
    request_id = models.CharField(
        max_length=200, blank=True, help_text="The X-Request-ID of the answer, and of the log."
    )
    object_type = models.CharField(max_length=40)
    object_id = models.BigIntegerField(null=True)
    object_name = models.CharField(max_length=300, blank=True)
    changes = models.JSONField(
        default=dict, encoder=Encoder, help_text="Before and after of each field; what a relation lost and gained."
    )
    detail = models.CharField(max_length=200, blank=True, help_text="Why, where it was refused.")

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = "audit event"
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("object_type", "object_id", "-id"), name="audit_of_object"),
            models.Index(fields=("actor_id", "-id"), name="audit_of_actor"),
        )

    def __str__(self) -> str:
        return f"{self.actor_name} {self.get_action_display().lower()} {self.object_type} {self.object_name}"

    def save(self, **options: Any) -> None:
        if not self._state.adding:
            refuse_change(self)
        super().save(**options)

    delete = refuse_change

    @classmethod
    def object_types(cls) -> list[str]:
        """The types of objects that there can be records of."""
        return sorted([cls.PRUNED_TYPE, recording.DATABASE, *(model.audited_as for model in Audited.__subclasses__())])
