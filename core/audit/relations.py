"""Relations to many between audited models: what is added and removed on either side is recorded."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from django.db.models.fields.related_descriptors import ManyToManyDescriptor
from django.utils.functional import cached_property

from core.audit.recording import CHANGED, Recording, recording, reference

Rows = dict[Any, models.Model]  # by their keys


def audited_manager(base: Any) -> Any:
    """The manager of one side of a relation, which records what is added and removed.

    The signal `m2m_changed` could do that too, with two statements more: what is new, and the names of what changes.
    """

    class AuditedManager(base):
        def stored_rows(self, keys: Iterable[object] | None = None) -> Rows:
            """The related rows as they are stored, whatever was prefetched; of these keys, if any are given."""
            rows = self.model._base_manager.using(self.instance._state.db).filter(
                **{self.query_field_name: self.instance.pk}
            )
            return {row.pk: row for row in (rows if keys is None else rows.filter(pk__in=list(keys)))}

        def find(self, objs: Iterable[object]) -> Rows:
            """The rows of these instances or keys."""
            rows = list(objs)
            known = {item.pk: item for item in rows if isinstance(item, self.model)}
            keys = [self.model._meta.pk.to_python(item) for item in rows if not isinstance(item, self.model)]
            return known | (self.model._base_manager.using(self.instance._state.db).in_bulk(keys) if keys else {})

        def add(self, *objs: Any, through_defaults: Mapping[str, object] | None = None) -> None:
            with recording(self.instance._state.db) as current:
                is_new, wanted = current.is_new(self.instance), self.find(objs)
                stored = {} if is_new or not wanted else self.stored_rows(wanted)
                super().add(*objs, through_defaults=through_defaults)
                self.note(current, added=[row for key, row in wanted.items() if key not in stored])

        def remove(self, *objs: Any) -> None:
            with recording(self.instance._state.db) as current:
                removed = self.stored_rows(self.find(objs)).values() if objs else ()
                super().remove(*objs)
                self.note(current, removed=removed)

        def clear(self) -> None:
            with recording(self.instance._state.db) as current:
                removed = self.stored_rows().values()
                super().clear()
                self.note(current, removed=removed)

        def set(
            self, objs: Iterable[Any], *, clear: bool = False, through_defaults: Mapping[str, object] | None = None
        ) -> None:
            with recording(self.instance._state.db) as current:
                is_new, wanted = current.is_new(self.instance), self.find(objs)
                stored = {} if is_new else self.stored_rows()
                removed = [row for key, row in stored.items() if key not in wanted]
                added = [row for key, row in wanted.items() if key not in stored]
                super().remove(*removed)
                super().add(*added, through_defaults=through_defaults)
                self.note(current, added=added, removed=removed)

        def note(
            self, current: Recording, *, added: Iterable[models.Model] = (), removed: Iterable[models.Model] = ()
        ) -> None:
            change = {"removed": [reference(row) for row in removed], "added": [reference(row) for row in added]}
            if change["removed"] or change["added"]:
                current.note(self.instance, CHANGED, {self.prefetch_cache_name: change})

    for name in ("add", "remove", "clear", "set"):
        getattr(AuditedManager, name).alters_data = True  # a template must not call it
    return AuditedManager


class AuditedDescriptor(ManyToManyDescriptor):
    is_audited = True

    @cached_property
    def related_manager_cls(self) -> Any:
        return audited_manager(super().related_manager_cls)


class AuditedManyToManyField(models.ManyToManyField):
    """A relation to many between audited models. A change on either side is recorded as that of that side's row."""

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False, **options: Any
    ) -> None:
        super().contribute_to_class(cls, name, private_only=private_only, **options)
        setattr(cls, self.name, AuditedDescriptor(self.remote_field, reverse=False))

    def contribute_to_related_class(self, cls: type[models.Model], related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        setattr(cls, related.accessor_name, AuditedDescriptor(self.remote_field, reverse=True))

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.ManyToManyField", args, options  # a migration knows it as Django's
