"""Functions are named by verbs or nouns, public names exist once, sizes keep their limits: see bench/house.py."""

from functools import cache
from typing import Any

from bench.house import House, judge
from tests.live import ROOT

# Public names that several modules define, because a framework or one of our plug-in seams calls each by this name.
PRESCRIBED: dict[str, str] = {}
MOST_PRESCRIBED = 12


@cache
def figures() -> dict[str, Any]:
    return House(ROOT).figures()


def test_no_function_is_named_by_a_participle() -> None:
    participles = figures()["participles"]
    assert not participles, "Functions are named by verbs or nouns:\n" + "\n".join(participles)


def test_a_public_name_exists_once() -> None:
    twice = figures()["twice"]
    lines = [f"{name}: {', '.join(files)}" for name, files in sorted(twice.items()) if name not in PRESCRIBED]
    assert not lines, "Rename one of them, or list the name above with its reason:\n" + "\n".join(lines)
    assert PRESCRIBED.keys() <= twice.keys(), "A name on the list exists once: take it off."
    assert len(PRESCRIBED) <= MOST_PRESCRIBED


def test_every_private_name_of_a_framework_is_listed() -> None:
    unlisted = figures()["unlisted"]
    assert unlisted == [], f'Not listed in CONTRIBUTING.md, "What an upgrade must look at": {unlisted}'


def test_sizes_stay_within_their_limits() -> None:
    exceeding = judge(figures())
    longest = {name: figures()[name] for name in ("file_max", "function_max")}
    assert not exceeding, "\n".join([*exceeding, f"longest: {longest}", "python bench/house.py . prints more."])
