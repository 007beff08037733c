"""Names are unique without regard to case and surrounding space, in the database."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from core.database.casefold import CasefoldedCharField, fold
from groups.models import Group, User
from llms.models import LLM
from tests.people import Person


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Sales", "sALES"),
        ("Ärzte", "ÄRZTE"),
        ("Straße", "STRASSE"),
        ("é", "É"),
        ("É", "e\u0301"),  # composed, and a letter with its accent
        ("ᾳ\u0301", "ΆΙ"),  # an iota that is written below, and beside
        ("Sales", "Sa\u200bles"),  # zero width
        ("Sales", "\u202eSales"),  # from right to left
        ("Sales", "Sales\U000e0073\U000e007f"),  # tags
        ("Sales", "\u3164 S\u00adales \u2060"),  # a filler, a soft hyphen, a word joiner, and the space beside them
        ("❤️", "❤"),  # a variation selector
        ("دست\u200cخط", "دستخط"),
    ],
)
def test_a_name_in_other_letters_is_the_same(db: Any, first: str, second: str) -> None:
    Group.objects.create(name=first)
    with pytest.raises(ValidationError) as caught:
        Group(name=second).full_clean()
    assert caught.value.message_dict == {
        "name": ["There is already a group with this name; letter case and invisible characters make no difference."]
    }
    with pytest.raises(IntegrityError):
        Group.objects.create(name=second)


def test_a_row_may_keep_or_recase_its_own_name(db: Any) -> None:
    group = Group.objects.create(name="Sales")
    group.name = "SALES"
    group.full_clean()
    group.save()


@pytest.mark.parametrize(("first", "second"), [("Sales", "Sale"), ("Ärzte", "Arzte"), ("a b", "ab"), ("o\u0308", "o")])
def test_what_can_be_seen_is_different(db: Any, first: str, second: str) -> None:
    Group.objects.create(name=first)
    Group(name=second).full_clean()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ADA@BÜCHER.example", "ada@XN--BCHER-KVA.EXAMPLE"),
        ("ada@mail.straße.example", "ada@mail.xn--strae-oqa.example"),
        ("ada@example.com", "ada@ｅxample.com"),
        ("ada@example.com", "ada@exam\u200bple.com"),
    ],
)
def test_an_address_is_one_however_its_domain_is_written(alice: Person, first: str, second: str) -> None:
    for known, other in ((first, second), (second, first)):
        made = alice.post("/users", {"data": {"attributes": {"email": known}}})
        again = alice.post("/users", {"data": {"attributes": {"email": other}}})
        assert (made.status_code, again.status_code) == (201, 400)
        assert [error["code"] for error in again.json()["errors"]] == ["unique"]
        for spelling in (known, other):
            assert User.objects.get_by_natural_key(spelling).pk == int(made.json()["id"])
            found = alice.get("/users", {"filter[email]": spelling}).json()
            assert [user["id"] for user in found] == [made.json()["id"]]
            assert made.json()["id"] in [user["id"] for user in alice.get("/users", {"search": spelling}).json()]
        alice.delete(f"/users/{made.json()['id']}")


@pytest.mark.parametrize("label", ["xn--", "xn--a", "xn--99999999", "xn--bcher-kva-xn--", "xn--" + "a" * 200])
def test_what_only_looks_like_punycode_stays(label: str) -> None:
    for text in (label, f"ada@{label}.example", f"team {label} é"):
        assert fold(text) == text


def test_half_of_a_surrogate_pair_is_no_letter_of_a_name() -> None:
    label = "xn--" + "a\ud800".encode("punycode").decode()
    assert fold(f"ada@{label}.example") == f"ada@{label}.example"


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
