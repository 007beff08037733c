"""The models of the app `core`, imported here because Django looks for them in this module."""

from core.audit.models import AuditEvent
from core.idempotency.models import IdempotentRequest

__all__ = ("AuditEvent", "IdempotentRequest")
