"""Names that are unique without regard to case and surrounding space, on every database.

`LOWER` knows only ASCII on SQLite, so a model keeps the folded form of its name beside it:

    name = models.CharField(max_length=200)
    name_folded = FoldedField("name")

    class Meta:
        constraints = [UniqueFolded("name_folded", name="group_name_unique")]
"""

import unicodedata
from argparse import ArgumentTypeError
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


def fold(text: str) -> str:
    """The form in which names are compared."""
    return unicodedata.normalize("NFC", text.strip()).casefold()


def utf_8(argument: str) -> str:
    """The argument of a command, which a database can be asked for; argparse says so where it cannot."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError("This is not UTF-8.") from None
    return argument


class CasefoldedCharField(models.CharField):
    """Holds `fold()` of the field named `source`, brought up to date whenever it is saved.

    `save(update_fields=[source])` must name this field too.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self.source = source
        # folding makes of one character three at most
        super().__init__(**{"max_length": 600, "editable": False, "db_index": True, **options})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        # ours is not Django's default, which would be left out
        options["db_index"] = self.db_index  # type: ignore[attr-defined]
        return name, path, [self.source, *args], options

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        value = fold(getattr(model_instance, self.source))
        setattr(model_instance, self.attname, value)
        return value


class UniqueCasefolded(models.UniqueConstraint):
    """The uniqueness of one `FoldedField`, whose violation is an error of the field it folds."""

    def __init__(self, field: str = "", *, name: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(fields=fields or (field,), name=name)

    def taken(self, model: type[models.Model], name: str, except_pk: Any = None) -> bool:
        """Whether another row has this name."""
        return model._default_manager.filter(**{self.fields[0]: fold(name)}).exclude(pk=except_pk).exists()

    def source(self, model: type[models.Model]) -> str:
        field = model._meta.get_field(self.fields[0])
        assert isinstance(field, CasefoldedCharField)
        return field.source

    def validate(self, model: Any, instance: models.Model, exclude: Any = None, using: str = "default") -> None:
        source = self.source(model)
        if source not in (exclude or ()) and self.taken(model, getattr(instance, source), instance.pk):
            raise ValidationError({source: ValidationError(taken_message(model, source), code="unique")})


def taken_message(model: type[models.Model], source: str) -> str:
    return f"There is already a {model._meta.verbose_name} with this {source}; letter case makes no difference."
