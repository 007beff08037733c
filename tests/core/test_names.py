"""Names are unique without regard to case and surrounding space, in the database."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from core.database.casefold import CasefoldedCharField
from groups.models import Group, User
from llms.models import LLM


@pytest.mark.parametrize(
    ("first", "second"), [("Sales", "sALES"), ("Ärzte", "ÄRZTE"), ("Straße", "STRASSE"), ("é", "É")]
)
def test_a_name_in_other_letters_is_the_same(db: Any, first: str, second: str) -> None:
    Group.objects.create(name=first)
    with pytest.raises(ValidationError) as caught:
        Group(name=second).full_clean()
    assert caught.value.message_dict == {
        "name": ["There is already a group with this name; letter case makes no difference."]
    }
    with pytest.raises(IntegrityError):
        Group.objects.create(name=second)


def test_a_row_may_keep_or_recase_its_own_name(db: Any) -> None:
    group = Group.objects.create(name="Sales")
    group.name = "SALES"
    group.full_clean()
    group.save()


def test_it_holds_for_e_mails_and_llms_too(db: Any) -> None:
    User.objects.create_user("ada@example.com")
    with pytest.raises(IntegrityError):
        User.objects.create_user("ADA@example.com")


def test_llms(db: Any) -> None:
    LLM.objects.create(name="GPT", vendor="openai")
    with pytest.raises(IntegrityError):
        LLM.objects.create(name=" gpt ", vendor="openai")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_migration_knows_whether_a_folded_name_has_an_index(is_indexed: bool) -> None:
    _, _, args, options = CasefoldedCharField("name", db_index=is_indexed).deconstruct()
    assert CasefoldedCharField(*args, **options).db_index is is_indexed
