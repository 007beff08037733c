"""Keeps an admin form that was opened before someone else changed the row from undoing that change.

The form carries a digest of the values with which it was opened. If others are stored when it is sent, nothing is saved
and the page shows both versions. That page carries the digest of what is stored, so that saving again is a decision.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Field, Manager, Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import QueryDict

OPENED_AS = "opened_as"  # the hidden input
CHANGED = "Someone else changed this after you had opened it, so nothing was saved."
NOT_SHOWN = "not shown"  # stands for a value that is no field of the row, such as a new key


@dataclass(frozen=True)
class Difference:
    """A value that is stored, and the one by which the form would replace it."""

    label: str
    stored: str
    yours: str


@dataclass(frozen=True)
class Inline:
    """The rows of an inline that can be changed."""

    label: str
    formset_class: type[BaseInlineFormSet]
    rows: QuerySet

    def stored(self, row: Model) -> list[list[object]]:
        formset = self.formset_class(instance=row, queryset=self.rows)
        rows = [[plain(getattr(form.instance, name)) for name in self.names] for form in formset.initial_forms]
        return sorted(rows, key=key)

    def sent(self, row: Model, data: QueryDict) -> list[list[object]]:
        formset = self.formset_class(data=data, instance=row, queryset=self.rows)
        formset.is_valid()  # cleans what can be cleaned
        values = [form.cleaned_data for form in formset.forms if form.cleaned_data]
        kept = [each for each in values if not each.get("DELETE")]
        return sorted(([plain(each.get(name)) for name in self.names] for each in kept), key=key)

    @property
    def names(self) -> list[str]:
        parent: Any = self.formset_class.fk
        fields = fields_of(self.rows.model, self.formset_class.form.base_fields)
        return [item.name for item in fields if item != parent and not item.primary_key]


class GuardedForm(forms.ModelForm):
    """The form of a row. It is not valid while it would undo a change of someone else. Made by `guard_form`."""

    opened_as = ""
    differences: Sequence[Difference] = ()

    def clean(self) -> dict[str, object] | None:
        cleaned = super().clean()
        if self.differences:
            self.add_error(None, CHANGED)
        return cleaned


def guard_form(
    form_class: type[forms.ModelForm],
    row: Model,
    inlines: Sequence[Inline],
    sent: QueryDict | None,
    hidden_columns: Iterable[str],
) -> type[GuardedForm]:
    """The form class, with the digest of what is stored, and with the differences if `sent` has another digest.

    `hidden_columns` are changed by the form but not shown in it. What is sent without a digest is not checked, as in
    the API without `If-Match`.
    """
    names = {*form_class.base_fields, *hidden_columns}
    values = [[item.name, plain(item.value_from_object(row))] for item in fields_of(type(row), names)]
    stored = json.dumps([values, [inline.stored(row) for inline in inlines]], default=key)
    opened_as = hashlib.sha256(stored.encode()).hexdigest()
    is_late = sent is not None and sent.get(OPENED_AS, opened_as) != opened_as
    differences = find_differences(form_class, row, inlines, sent) if sent is not None and is_late else []
    attributes = {"opened_as": opened_as, "differences": differences}
    return type(form_class.__name__, (GuardedForm, form_class), attributes)


def find_differences(
    form_class: type[forms.ModelForm], row: Model, inlines: Sequence[Inline], sent: QueryDict
) -> list[Difference]:
    """What the form would change of the row as it is stored. None if someone had the same idea, or sent it twice."""
    form = form_class(sent, instance=type(row)._base_manager.get(pk=row.pk))  # it fills its instance
    form.is_valid()
    fields = {item.name for item in fields_of(type(row), form.fields)}
    pairs = []
    for name, field in form.fields.items():
        label = str(field.label or name)
        if name in fields:
            typed = form.cleaned_data[name] if name in form.cleaned_data else form.data.get(form.add_prefix(name))
            pairs.append((label, plain(getattr(row, name)), plain(typed)))
        elif name in form.changed_data:
            pairs.append((label, "", NOT_SHOWN))
    pairs += [(inline.label, inline.stored(row), inline.sent(row, sent)) for inline in inlines]
    differing = [pair for pair in pairs if key(pair[1]) != key(pair[2])]
    return [Difference(label, words(stored), words(yours)) for label, stored, yours in differing]


def fields_of(model: type[Model], names: Iterable[str]) -> list[Field]:
    """The fields and relations to many of a model that have these names."""
    return [item for item in (*model._meta.concrete_fields, *model._meta.many_to_many) if item.name in {*names}]


def plain(value: object) -> object:
    """The value, with related rows as a list in the order of their keys."""
    if isinstance(value, Manager):
        value = value.all()
    if isinstance(value, QuerySet) or (isinstance(value, list) and value and isinstance(value[0], Model)):
        return sorted(value, key=lambda related: related.pk)
    return value


def key(value: object) -> str:
    """A text that is the same for the same value."""
    return json.dumps(value, sort_keys=True, default=lambda item: item.pk if isinstance(item, Model) else str(item))


def words(value: object) -> str:
    """The value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(words, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else "" if value is None else str(value)
