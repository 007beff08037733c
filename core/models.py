"""The tables of this library; Django looks for them here."""

from core.audit.models import AuditEvent
from core.idempotency.models import IdempotentRequest

__all__ = ("AuditEvent", "IdempotentRequest")
