"""Who changed what: every change of an audited row leaves one record, stored in the transaction of the change.

`save` and deletion of an `Audited` model record what they change; so do both sides of an `AuditedManyToManyField`.
Changes that belong together are made inside `recording()`, which writes one record of all that happens to a row.
Outside of it, each `save`, deletion and change of a relation is a recording of its own.

`update`, `bulk_create` and SQL leave no record; tests/test_audited_sources.py knows each place that uses them.
"""

import copy
import getpass
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

import orjson
from django.apps import apps
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.signals import pre_delete

from core.database.casefold import CasefoldedCharField
from core.database.encryption import EncryptedField
from core.server.middleware import current_http_request, current_request_id

log = logging.getLogger(__name__)

MASK = "********"  # stands for a secret that is set
LONGEST_VALUE = 10_000  # characters of a text; of a longer one the beginning is recorded
LONGEST_NAME = 300  # characters
CREATED, CHANGED, DELETED, RESTORED = "created", "changed", "deleted", "restored"
DATABASE = "database"  # the object_type of a record about the whole database

Change = dict[str, Any]  # `before` and `after` of a field; what was `removed` and `added` of a relation to many
Changes = dict[str, Change]
Values = Mapping[str, object]  # of a row, by column


# who, and from where


def request_origin() -> dict[str, object]:
    """Who acts now and through which door, as fields of a record."""
    request = current_http_request.get()
    if request is None:
        try:
            system_user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            system_user = "unknown"
        command = " ".join((Path(sys.argv[0]).name, *sys.argv[1:2]))
        return {"door": "command", "actor_name": f"{system_user}: {command}"[:LONGEST_NAME]}
    user = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated
    path = request.path
    return {
        "door": "api" if path.startswith("/api/") else "admin" if path.startswith("/admin/") else "page",
        "actor_id": user.pk if user and is_known else None,
        "actor_name": str(user) if is_known else "",
        "address": request.META.get("REMOTE_ADDR") or None,
        "request_id": current_request_id.get(),
    }


# what


class Recorded(Protocol):
    """A row whose changes are recorded."""

    audited_as: ClassVar[str]
    pk: Any


@dataclass(frozen=True)
class Draft:
    """A record that is not written yet. `origin` are fields that differ from those of the request."""

    action: str
    object_type: str
    object_id: int | None = None
    object_name: object = ""  # as it is when the record is written
    changes: Changes = field(default_factory=dict)
    detail: str = ""
    origin: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Recording:
    """What happened so far to which rows of the database `using`."""

    using: str
    drafts: dict[object, Draft] = field(default_factory=dict)
    read: dict[tuple[type[models.Model], Any], Values] = field(default_factory=dict)

    def remember(self, instance: models.Model) -> None:
        """Take these values of a row, which was locked as it was read, for those before the next `save`."""
        self.read[type(instance), instance.pk] = copy.deepcopy(
            {item.attname: vars(instance)[item.attname] for item in instance._meta.concrete_fields}
        )

    def note(self, instance: Recorded, action: str, changes: Changes) -> None:
        """Add a change to those of the row."""
        key = (instance.audited_as, instance.pk)
        known = self.drafts.get(key)
        if known and action != DELETED:
            merged = {name: merge_changes(known.changes.get(name), change) for name, change in changes.items()}
            self.drafts[key] = replace(known, object_name=instance, changes={**known.changes, **merged})
        else:
            name = str(instance) if action == DELETED else instance
            self.drafts[key] = Draft(action, instance.audited_as, instance.pk, name, changes)

    def is_new(self, instance: Recorded) -> bool:
        known = self.drafts.get((instance.audited_as, instance.pk))
        return known is not None and known.action == CREATED


def merge_changes(earlier: Change | None, later: Change) -> Change:
    """Two changes of the same field, one after the other."""
    if earlier is None:
        return later
    if "after" in later:
        return {"before": earlier["before"], "after": later["after"]}
    keys = {side: {item["id"] for item in change[side]} for change, side in ((earlier, "added"), (later, "removed"))}
    removed = {item["id"]: item for item in earlier["removed"] + later["removed"] if item["id"] not in keys["added"]}
    added = {item["id"]: item for item in earlier["added"] + later["added"] if item["id"] not in keys["removed"]}
    return {"removed": list(removed.values()), "added": list(added.values())}


_open: ContextVar[Recording | None] = ContextVar("open_recording", default=None)


@contextmanager
def recording(using: str | None = None) -> Iterator[Recording]:
    """A transaction whose records are written at its end, to the same database: one for each row that changed.

    Inside another recording it is a part of that one; what it noted is forgotten when it fails.
    """
    outer, using = _open.get(), using or DEFAULT_DB_ALIAS
    if outer is not None and outer.using == using:
        before = dict(outer.drafts)
        try:
            yield outer
        except BaseException:
            outer.drafts = before
            raise
        return
    with transaction.atomic(using, savepoint=False):
        own = Recording(using)
        token = _open.set(own)
        try:
            yield own
        finally:
            _open.reset(token)
        write(own.drafts.values(), using)


def record(action: str, object_type: str, **fields: Any) -> None:
    """Leave a record of something that changes no row, with these fields of Draft."""
    with recording() as current:
        current.drafts[object()] = Draft(action, object_type, **fields)


def write(drafts: Iterable[Draft], using: str) -> None:
    """Store records, in one statement; with AUDIT_LOG they are written as JSON lines once they are committed."""
    drafts = list(drafts)
    if not drafts:
        return
    model: Any = apps.get_model("core", "AuditEvent")  # its module needs this one
    origin = request_origin()
    events = [
        model(
            action=draft.action,
            object_type=draft.object_type,
            object_id=draft.object_id,
            object_name=str(draft.object_name)[:LONGEST_NAME],
            changes=draft.changes,
            detail=draft.detail,
            **{**origin, **draft.origin},
        )
        for draft in drafts
    ]
    model._base_manager.using(using).bulk_create(events)
    if settings.AUDIT_LOG:
        # the standard output of a command is for whoever called it
        stream = sys.stderr if origin["door"] == "command" else sys.stdout
        transaction.on_commit(partial(print_lines, events, stream), using)


def print_lines(events: list[Any], stream: TextIO) -> None:
    """If the stream is closed or the disk is full, the change stands, and its record is in the database."""
    lines = []
    for event in events:
        values = {item.attname: getattr(event, item.attname) for item in event._meta.fields[1:]}
        lines.append(orjson.dumps({"audit": event.pk, **values}, default=str).decode() + "\n")
    try:
        stream.write("".join(lines))
        stream.flush()
    except (AttributeError, OSError, ValueError) as error:  # AttributeError: there is no such stream at all
        log.error("Records of the audit cannot be written to AUDIT_LOG: %s", error)


# rows


class Audited(models.Model):
    """A model whose changes are recorded, as those of a resource named `audited_as`.

    Of the fields in `audited_secrets`, and of encrypted fields, a record says only that they changed. Changes of the
    fields in `unaudited` are not recorded.
    """

    audited_as: ClassVar[str]
    audited_secrets: ClassVar[frozenset[str]] = frozenset()
    unaudited: ClassVar[frozenset[str]] = frozenset()

    class Meta:
        abstract = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        pre_delete.connect(record_deletion, sender=cls)  # cascades and querysets delete without asking the instance

    def save(self, **options: Any) -> None:
        """Save the row, and record what changes of it. For that the row is read before, unless it was remembered."""
        only: Iterable[str] | None = options.get("update_fields")
        fields = [item for item in recorded_fields(type(self)) if only is None or {item.name, item.attname} & {*only}]
        with recording(options.get("using") or self._state.db) as current:
            before = current.read.pop((type(self), self.pk), None)
            if before is None and fields and self.pk is not None and not options.get("force_insert"):
                rows = type(self)._base_manager.using(current.using).select_for_update(no_key=True)
                before = rows.filter(pk=self.pk).values().first()
            is_new = before is None and self._state.adding
            super().save(**options)
            changes = self.differences(before, fields)
            if is_new or changes:
                current.note(self, CREATED if is_new else CHANGED, changes)

    def differences(self, before: Values | None, fields: Iterable[models.Field]) -> Changes:
        """How these fields differ from those of the row `before`; without it, all values that are set."""
        changes: Changes = {}
        for item in fields:
            if item.attname not in self.__dict__:
                continue
            old, new = before and before[item.attname], self.__dict__[item.attname]
            if isinstance(old, list | dict):  # compared as JSON: to Python 1 is True, and 0 False
                is_same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
            else:
                is_same = old == new
            if is_same or (before is None and new in ("", [], {})):
                continue
            is_secret = item.name in self.audited_secrets or isinstance(item, EncryptedField)
            changes[item.attname] = {}
            for side, value in (("before", old), ("after", new)):
                if is_secret:
                    value = MASK if value else None
                elif isinstance(value, str) and len(value) > LONGEST_VALUE:
                    value = f"{value[:LONGEST_VALUE]}… ({len(value):,} characters)"
                elif isinstance(value, list | dict):
                    value = copy.deepcopy(value)
                changes[item.attname][side] = value
        return changes


@cache
def recorded_fields(model: type[Audited]) -> tuple[models.Field, ...]:
    """The columns that people fill: no keys, no casefolded names, no times that are set by themselves."""
    return tuple(
        item
        for item in model._meta.concrete_fields
        if not item.primary_key
        and not isinstance(item, CasefoldedCharField)
        and not getattr(item, "auto_now", False)
        and not getattr(item, "auto_now_add", False)
        and item.name not in model.unaudited
    )


def record_deletion(sender: type[Audited], instance: Audited, using: str, **rest: object) -> None:
    """Receiver of `pre_delete`, in the transaction that deletes: records the values and relations that the row had."""
    changes = instance.differences(None, recorded_fields(sender))
    lost: Changes = {name: {"before": change["after"], "after": None} for name, change in changes.items()}
    for name in audited_relations(sender):
        if related := getattr(instance, name).stored_rows():
            lost[name] = {"removed": [reference(row) for row in related.values()], "added": []}
    with recording(using) as current:
        current.note(instance, DELETED, lost)


@cache
def audited_relations(model: type[models.Model]) -> tuple[str, ...]:
    """The names of the relations to many, from either side, whose changes are recorded."""
    return tuple(name for name in dir(model) if getattr(getattr(model, name, None), "is_audited", False))


def reference(instance: models.Model) -> dict[str, object]:
    """How a record names a row: its id, and its name at that time."""
    return {"id": instance.pk, "name": str(instance)[:LONGEST_NAME]}


class Encoder(DjangoJSONEncoder):
    """Writes the values of fields, be they times, numbers or addresses."""

    def default(self, value: object) -> object:
        try:
            return super().default(value)
        except TypeError:
            return str(value)
