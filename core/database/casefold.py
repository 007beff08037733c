"""Names that are unique without regard to letter case, invisible characters and surrounding space, on every database.

SQLite's LOWER knows only ASCII, so a model stores the folded form of a name in a second column:

    name = NameField(max_length=200)
    name_folded = CasefoldedCharField("name")

    class Meta:
        constraints = [UniqueCasefolded("name_folded", name="group_name_unique")]

When `fold` changes, a migration must compute that column anew: see `refold`.
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from core.characters import CONTROL, INVISIBLE

log = logging.getLogger(__name__)

PUNYCODE = re.compile(r"\bxn--([a-z0-9-]{1,59})(?![a-z0-9-])")
NUMBER = "\n"  # stands before the number that `refold` gave; `fold` leaves none in a name
LONGEST_NUMBER = 20


def fold(text: str) -> str:
    """The form in which names are compared: Unicode's canonical caseless form of what can be seen.

    The domain of an e-mail address is the same in Unicode and in Punycode.
    """
    if text.isascii() and text.isprintable() and "xn--" not in text.lower():
        return text.strip().lower()
    local, at, domain = text.rpartition("@")
    if at:
        text = local + at + unicodedata.normalize("NFKC", domain).replace("。", ".")
    text = PUNYCODE.sub(read_punycode, unicodedata.normalize("NFD", CONTROL.sub("", text)).casefold())
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", INVISIBLE.sub("", text).strip()).casefold())


def read_punycode(label: re.Match[str]) -> str:
    """The Unicode that a label of a domain stands for; the label itself if it stands for none."""
    try:
        text = label[1].encode().decode("punycode")
        text.encode()  # refuses halves of surrogate pairs
    except UnicodeError:
        return label[0]
    return label[0] if text.isascii() or CONTROL.search(text) else text


def refuse_control_characters(text: str) -> None:
    """Raise ValidationError if there is a control character, such as a line end."""
    if CONTROL.search(text):
        raise ValidationError("This must have no control characters, such as line ends.", "invalid")


class NameField(models.CharField):
    """A name. Without a visible character it is empty."""

    default_validators = [refuse_control_characters]

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text if text is None or INVISIBLE.sub("", text).strip() else ""


class CasefoldedCharField(models.CharField):
    """Holds `fold()` of the field named `source`, and is updated on each save.

    `save(update_fields=[source])` must name this field too.
    """

    # The length suffices for 200 characters: folding makes at most three of one.
    def __init__(self, source: str, *, max_length: int = 600, editable: bool = False, db_index: bool = True) -> None:
        self.source = source
        super().__init__(max_length=max_length, editable=editable, db_index=db_index)

    def deconstruct(self) -> tuple[str, str, Sequence[object], dict[str, object]]:
        name, path, args, options = super().deconstruct()
        # Django leaves out its own default, False, which is not ours.
        options["db_index"] = self.db_index  # type: ignore[attr-defined]
        return name or "", path, [self.source, *args], options

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        value = self.folded_name(model_instance)
        setattr(model_instance, self.attname, value)
        return value

    def folded_name(self, row: models.Model) -> str:
        """The folded name of a row. A row that `refold` has numbered keeps its number with its name."""
        name, stored = fold(getattr(row, self.source)), str(row.__dict__.get(self.attname) or "")
        return stored if stored.partition(NUMBER)[0] == name else name


class UniqueCasefolded(models.UniqueConstraint):
    """Makes one CasefoldedCharField unique. A violation is an error of the field that it folds."""

    def __init__(self, field: str = "", *, name: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(fields=fields or (field,), name=name)

    def taken(self, model: type[models.Model], folded: str, except_pk: object = None) -> bool:
        """Whether another row has this folded name."""
        return model._default_manager.filter(**{self.fields[0]: folded}).exclude(pk=except_pk).exists()

    def folded_field(self, model: type[models.Model]) -> CasefoldedCharField:
        field = model._meta.get_field(self.fields[0])
        assert isinstance(field, CasefoldedCharField)
        return field

    def validate(
        self, model: type[models.Model], instance: models.Model, exclude: set[str] | None = None, using: str = "default"
    ) -> None:
        field = self.folded_field(model)
        source, name = field.source, field.folded_name(instance)
        if source not in (exclude or ()) and self.taken(model, name, instance.pk):
            raise ValidationError({source: ValidationError(taken_message(model, source), code="unique")})


def taken_message(model: type[models.Model], source: str) -> str:
    noun = model._meta.verbose_name
    return f"There is already a {noun} with this {source}; letter case and invisible characters make no difference."


def refold(model: type[models.Model], folded: str, *, using: str) -> None:
    """Compute a CasefoldedCharField of all rows anew, in a migration that follows a change of `fold`.

    Of rows whose names have become the same, one has the name: that which had it, else the oldest. The others keep
    their names too, and get a number behind the folded form, so that the migration succeeds where that is unique.
    """
    field: Any = model._meta.get_field(folded)
    rows = model._base_manager.using(using)
    stored = rows.order_by("pk").values_list("pk", field.source, folded)
    changed = [(pk, new) for pk, name, old in stored.iterator() if (new := fold(name)) != old]
    is_unique = any(folded in item.fields for item in model._meta.constraints if isinstance(item, UniqueCasefolded))
    for pk, _ in changed if is_unique else ():  # first out of the way, because they may take over each other's
        rows.filter(pk=pk).update(**{folded: f"{NUMBER}{pk}"})
    for pk, new in changed:
        if is_unique and rows.filter(**{folded: new}).exists():
            log.warning("There is another %s with the name %a: rename id %s.", model._meta.verbose_name, new, pk)
            new = f"{new[: field.max_length - LONGEST_NUMBER]}{NUMBER}{pk}"
        rows.filter(pk=pk).update(**{folded: new})
