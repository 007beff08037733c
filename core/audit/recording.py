"""Who changed what: every change of an audited row leaves one record, stored in the transaction of the change.

A model that is `Audited` notes what `save` and deletion change, an `AuditedManyToManyField` what its two sides change.
What belongs together is done inside `recording()`, which makes one record of all that happens to a row in it; outside
of one, each `save`, deletion and change of a relation is a recording of its own.

Rows are changed past this by `update`, `bulk_create` and SQL; tests/test_audited_sources.py knows each such place.
"""

import copy
import getpass
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import orjson
from django.apps import apps
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.fields.related_descriptors import ManyToManyDescriptor
from django.db.models.signals import pre_delete
from django.http import HttpRequest, HttpResponse

from core.database.casefold import CasefoldedCharField
from core.database.encryption import EncryptedField
from core.server.middleware import current_request_id

MASK = "********"  # stands for a secret that is there
log = logging.getLogger(__name__)

LONGEST_VALUE = 10_000  # characters of a text; of a longer one the beginning is recorded
LONGEST_NAME = 300  # characters
CREATED, CHANGED, DELETED, RESTORED = "created", "changed", "deleted", "restored"
DATABASE = "database"  # the object_type of all that there is

Changes = dict[str, dict[str, Any]]


# who, and from where


_request: ContextVar[HttpRequest | None] = ContextVar("request_of_audit", default=None)


def remember_request(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: what changes until the answer is this request's doing."""

    def middleware(request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return get_response(request)
        finally:
            _request.reset(token)

    return middleware


def origin() -> dict[str, Any]:
    """Who acts now and through which door, as fields of a record."""
    request = _request.get()
    if request is None:
        command = " ".join((Path(sys.argv[0]).name, *sys.argv[1:2]))
        return {"door": "command", "actor_name": f"{system_user()}: {command}"[:LONGEST_NAME]}
    user: Any = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    return {
        "door": door_of(request.path),
        "actor_id": user.pk if known else None,
        "actor_name": str(user) if known else "",
        "address": request.META.get("REMOTE_ADDR") or None,
        "request_id": current_request_id.get(),
    }


def door_of(path: str) -> str:
    return "api" if path.startswith("/api/") else "admin" if path.startswith("/admin/") else "page"


def system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


# what


@dataclass(frozen=True)
class Draft:
    """A record that is not written yet. `changes` has for each field `before` and `after`, of a relation to many
    what was `removed` and `added`."""

    action: str
    object_type: str
    object_id: int | None = None
    object_name: str = ""
    changes: Changes = field(default_factory=dict)
    detail: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


class Recording:
    """What happened so far to which rows."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.drafts: dict[Any, Draft] = {}

    def note(self, instance: "Audited", action: str, changes: Changes) -> None:
        """Add to what is known of a row."""
        key = (instance.audited_as, instance.pk)
        known = self.drafts.get(key)
        draft = Draft(action, instance.audited_as, instance.pk, str(instance)[:LONGEST_NAME], changes)
        if known and action != DELETED:
            merged = {name: combined(known.changes.get(name), change) for name, change in changes.items()}
            draft = replace(draft, action=known.action, changes={**known.changes, **merged})
        self.drafts[key] = draft

    def add(self, draft: Draft) -> None:
        self.drafts[object()] = draft

    def is_new(self, instance: "Audited") -> bool:
        known = self.drafts.get((instance.audited_as, instance.pk))
        return known is not None and known.action == CREATED


def combined(earlier: dict[str, Any] | None, later: dict[str, Any]) -> dict[str, Any]:
    """Two changes of the same field, one after the other."""
    if earlier is None:
        return later
    if "after" in later:
        return {"before": earlier["before"], "after": later["after"]}
    gone = {**as_dict(earlier["removed"]), **as_dict(later["removed"])}
    come = {**as_dict(earlier["added"]), **as_dict(later["added"])}
    return {
        "removed": [item for key, item in gone.items() if key not in as_dict(earlier["added"])],
        "added": [item for key, item in come.items() if key not in as_dict(later["removed"])],
    }


def as_dict(items: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {item["id"]: item for item in items}


_open: ContextVar[Recording | None] = ContextVar("open_recording", default=None)


@contextmanager
def recording(using: str | None = None) -> Iterator[Recording]:
    """A transaction whose records are written at its end, to the same database: one for each row that changed.

    Inside of another it is a part of that one; what it noted is forgotten when it fails.
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


def record(action: str, object_type: str, **rest: Any) -> None:
    """Leave a record of something that is no change of a row. `rest` are the fields of Draft."""
    with recording() as now:
        now.add(Draft(action, object_type, **rest))


def write(drafts: Iterable[Draft], using: str) -> None:
    """Store records, in one statement; with AUDIT_LOG they are written as JSON lines once they are committed."""
    rows = list(drafts)
    if not rows:
        return
    model: Any = apps.get_model("core", "AuditEvent")  # which needs this module
    doer = origin()
    events = []
    for draft in rows:
        own = {name: getattr(draft, name) for name in DRAFTED}
        events.append(model(**own, **{**doer, **draft.origin}))
    model._base_manager.using(using).bulk_create(events)
    if settings.AUDIT_LOG:
        # what a command prints on standard output is for whoever called it
        stream = sys.stderr if doer["door"] == "command" else sys.stdout
        transaction.on_commit(partial(print_lines, events, stream), using)


DRAFTED = ("action", "object_type", "object_id", "object_name", "changes", "detail")


def print_lines(events: list[Any], stream: Any) -> None:
    """Nobody may read on, and the disk may be full: what was done stays done, and its record is in the database."""
    lines = (orjson.dumps(event.as_line(), default=str).decode() for event in events)
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except (AttributeError, OSError, ValueError) as error:  # the first where there is no such stream at all
        log.error("Records of the audit cannot be written to AUDIT_LOG: %s", error)


# rows


Self = TypeVar("Self", bound="Audited")


class Audited(models.Model):
    """A model whose changes are recorded, as of a resource named `audited_as`.

    Of `audited_secrets`, and of what is encrypted, only that they changed; of `unaudited` nothing.
    """

    audited_as: ClassVar[str]
    audited_secrets: ClassVar[frozenset[str]] = frozenset()
    unaudited: ClassVar[frozenset[str]] = frozenset()

    _read: tuple[Any, Any, dict[str, Any]]  # columns and values as they were read, and copies of those that can change

    class Meta:
        abstract = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        pre_delete.connect(note_deletion, sender=cls)  # cascades and querysets delete without asking the instance

    def save(self, **options: Any) -> None:
        with recording(options.get("using") or self._state.db) as now:
            before = self._before(options.get("force_insert", False))
            super().save(**options)
            names = options.get("update_fields")
            changes = self._differences(before or {}, None if names is None else frozenset(names))
            if before is None or changes:
                now.note(self, CREATED if before is None else CHANGED, changes)
            self._remember(names)

    @classmethod
    def from_db(cls: type[Self], db: str | None, field_names: Any, values: Any, **options: Any) -> Self:
        instance = super().from_db(db, field_names, values, **options)
        loaded = instance.__dict__
        copies = {name: own_copy(loaded[name]) for name in mutable_fields(cls) if name in loaded}
        instance._read = field_names, values, copies  # no more, for each row that is read pays it
        return instance

    def refresh_from_db(self, using: Any = None, fields: Any = None, from_queryset: Any = None) -> None:
        super().refresh_from_db(using, fields, from_queryset)
        self._remember(fields)

    @cached_property
    def _stored(self) -> dict[str, Any]:
        """The values by column, as the database has them, as far as that is known."""
        names, values, copies = self.__dict__.get("_read", ((), (), {}))
        return {**dict(zip(names, values, strict=True)), **copies}

    def _before(self, force_insert: Any) -> dict[str, Any] | None:
        """What the database has of this row; None when it is new."""
        if self._state.adding and (self.pk is None or force_insert):
            return None
        stored = self._stored
        if self._state.adding or len(stored) < len(self._meta.concrete_fields):  # made by hand, or read in part
            there: Any = type(self)._base_manager.using(self._state.db).filter(pk=self.pk).first()
            return there and there._stored
        return stored

    def _remember(self, names: Iterable[str] | None) -> None:
        """Know these fields, by default all, to be stored as they are now."""
        stored = self._stored
        for item in self._meta.concrete_fields:
            is_loaded = item.attname in self.__dict__
            if is_loaded and (names is None or item.name in names or item.attname in names):
                value = self.__dict__[item.attname]
                stored[item.attname] = own_copy(value) if isinstance(value, list | dict) else value

    def _differences(self, before: dict[str, Any], names: frozenset[str] | None) -> Changes:
        """The recorded fields among these, by default all, that are no longer as they were."""
        changes = {}
        for item in recorded_fields(type(self)):
            if item.attname not in self.__dict__ or not (names is None or names & {item.name, item.attname}):
                continue
            old, new = before.get(item.attname), self.__dict__[item.attname]
            if not is_same(old, new) and (before or new not in (None, "", [], {})):
                hidden = item.name in self.audited_secrets or isinstance(item, EncryptedField)
                changes[item.attname] = {"before": shown(old, hidden), "after": shown(new, hidden)}
        return changes


@cache
def recorded_fields(model: type[Audited]) -> tuple[Any, ...]:
    """The columns that people fill: no keys, no folded names, no times that are set by themselves."""
    return tuple(
        item
        for item in model._meta.concrete_fields
        if not item.primary_key
        and not isinstance(item, CasefoldedCharField)
        and not getattr(item, "auto_now", False)
        and not getattr(item, "auto_now_add", False)
        and item.name not in model.unaudited
    )


@cache
def mutable_fields(model: type[Audited]) -> tuple[str, ...]:
    return tuple(item.attname for item in model._meta.concrete_fields if isinstance(item, models.JSONField))


def is_same(old: Any, new: Any) -> bool:
    """To Python 1 is True, and 0 False: in JSON they are not."""
    if isinstance(old, list | dict):
        return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    return bool(old == new)


def shown(value: Any, hidden: bool) -> Any:
    """The value as a record has it."""
    if hidden:
        return MASK if value else None
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[:LONGEST_VALUE]}… ({len(value):,} characters)"
    return own_copy(value) if isinstance(value, list | dict) else value


def own_copy(value: Any) -> Any:
    """A copy of a JSON value, which nobody changes in place; mostly it is an empty one."""
    return copy.deepcopy(value) if value else type(value)()


def note_deletion(sender: type[Audited], instance: Audited, using: str, **rest: Any) -> None:
    """Receiver of `pre_delete`, in the transaction that deletes: what there was, and whom it was related to."""
    changes = instance._differences({}, None)
    gone: Changes = {name: {"before": change["after"], "after": None} for name, change in changes.items()}
    for name in audited_relations(sender):
        if there := list(getattr(instance, name).there().values()):
            gone[name] = {"removed": [identified(item) for item in there], "added": []}
    with recording(using) as now:
        now.note(instance, DELETED, gone)


@cache
def audited_relations(model: type[models.Model]) -> tuple[str, ...]:
    """The names of the relations to many, from either side, whose changes are recorded."""
    return tuple(name for name in dir(model) if isinstance(getattr(model, name, None), AuditedDescriptor))


def identified(instance: models.Model) -> dict[str, Any]:
    return {"id": instance.pk, "name": str(instance)[:LONGEST_NAME]}


# relations to many


def audited_manager(base: Any) -> Any:
    """The manager of one side of a relation, that notes what is added and removed.

    `m2m_changed` would do, but for a query more to find out what is new, and one more for the names.
    """

    class AuditedManager(base):
        def there(self, keys: Iterable[Any] | None = None) -> dict[Any, Any]:
            """What is related now, at most those with these keys, by key: as it is stored, whatever was prefetched."""
            rows = self.model._base_manager.using(self.instance._state.db).filter(
                **{self.query_field_name: self.instance.pk}
            )
            return {row.pk: row for row in (rows if keys is None else rows.filter(pk__in=list(keys)))}

        def instances(self, objs: Iterable[Any]) -> dict[Any, Any]:
            """These instances or keys as instances, by key."""
            given = list(objs)
            known = {item.pk: item for item in given if isinstance(item, self.model)}
            keys = [self.model._meta.pk.to_python(item) for item in given if not isinstance(item, self.model)]
            return known | (self.model._base_manager.using(self.instance._state.db).in_bulk(keys) if keys else {})

        def add(self, *objs: Any, through_defaults: Any = None) -> None:
            with recording(self.instance._state.db) as now:
                wanted = self.instances(objs)
                there = {} if not wanted or now.is_new(self.instance) else self.there(wanted)
                super().add(*objs, through_defaults=through_defaults)
                self.note(now, added=[item for key, item in wanted.items() if key not in there])

        def remove(self, *objs: Any) -> None:
            with recording(self.instance._state.db) as now:
                gone = self.there(self.instances(objs)).values() if objs else ()
                super().remove(*objs)
                self.note(now, removed=gone)

        def clear(self) -> None:
            with recording(self.instance._state.db) as now:
                gone = self.there().values()
                super().clear()
                self.note(now, removed=gone)

        def set(self, objs: Any, *, clear: bool = False, through_defaults: Any = None) -> None:
            with recording(self.instance._state.db) as now:
                wanted = self.instances(objs)
                there = {} if now.is_new(self.instance) else self.there()
                gone = [item for key, item in there.items() if key not in wanted]
                fresh = [item for key, item in wanted.items() if key not in there]
                super().remove(*gone)
                super().add(*fresh, through_defaults=through_defaults)
                self.note(now, added=fresh, removed=gone)

        def note(self, now: Recording, *, added: Iterable[Any] = (), removed: Iterable[Any] = ()) -> None:
            change = {"removed": [identified(item) for item in removed], "added": [identified(item) for item in added]}
            if change["removed"] or change["added"]:
                now.note(self.instance, CHANGED, {self.prefetch_cache_name: change})

    for name in ("add", "remove", "clear", "set"):
        getattr(AuditedManager, name).alters_data = True  # a template must not call it
    return AuditedManager


class AuditedDescriptor(ManyToManyDescriptor):
    @cached_property
    def related_manager_cls(self) -> Any:
        return audited_manager(super().related_manager_cls)


class AuditedManyToManyField(models.ManyToManyField):
    """A relation to many between audited models: what changes on either side is recorded with that side's row."""

    def contribute_to_class(self, cls: Any, name: str, private_only: bool = False, **options: Any) -> None:
        super().contribute_to_class(cls, name, private_only=private_only, **options)
        setattr(cls, self.name, AuditedDescriptor(self.remote_field, reverse=False))

    def contribute_to_related_class(self, cls: Any, related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        setattr(cls, related.accessor_name, AuditedDescriptor(self.remote_field, reverse=True))

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.ManyToManyField", args, options  # to a migration it is Django's


class Encoder(DjangoJSONEncoder):
    """Writes the values of fields, be they times, numbers or addresses."""

    def default(self, value: Any) -> Any:
        try:
            return super().default(value)
        except TypeError:
            return str(value)
