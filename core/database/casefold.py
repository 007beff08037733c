"""Names that are unique without regard to letter case and surrounding space, on every database.

SQLite's LOWER knows only ASCII, so a model stores the folded form of a name in a second column:

    name = models.CharField(max_length=200)
    name_folded = CasefoldedCharField("name")

    class Meta:
        constraints = [UniqueCasefolded("name_folded", name="group_name_unique")]
"""

import unicodedata
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import models


def fold(text: str) -> str:
    """The form in which names are compared."""
    return unicodedata.normalize("NFC", text.strip()).casefold()


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
        value = fold(getattr(model_instance, self.source))
        setattr(model_instance, self.attname, value)
        return value


class UniqueCasefolded(models.UniqueConstraint):
    """Makes one CasefoldedCharField unique. A violation is an error of the field that it folds."""

    def __init__(self, field: str = "", *, name: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(fields=fields or (field,), name=name)

    def taken(self, model: type[models.Model], name: str, except_pk: object = None) -> bool:
        """Whether another row has this name."""
        return model._default_manager.filter(**{self.fields[0]: fold(name)}).exclude(pk=except_pk).exists()

    def source(self, model: type[models.Model]) -> str:
        field = model._meta.get_field(self.fields[0])
        assert isinstance(field, CasefoldedCharField)
        return field.source

    def validate(
        self, model: type[models.Model], instance: models.Model, exclude: set[str] | None = None, using: str = "default"
    ) -> None:
        source = self.source(model)
        if source not in (exclude or ()) and self.taken(model, getattr(instance, source), instance.pk):
            raise ValidationError({source: ValidationError(taken_message(model, source), code="unique")})


def taken_message(model: type[models.Model], source: str) -> str:
    return f"There is already a {model._meta.verbose_name} with this {source}; letter case makes no difference."
