"""The admin of this library; Django looks for it here."""

from core.audit.admin import AuditEventAdmin

__all__ = ("AuditEventAdmin",)
