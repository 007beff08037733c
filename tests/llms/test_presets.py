"""Settings for current models: made once, and never changed after that."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from llms.context_windows import DEFAULT_MAX_TOKENS, WINDOWS, input_budget
from llms.models import LLMSettings
from llms.presets import presets
from llms.vendors.anthropic import MAX_TOKENS
from llms.vendors.registry import VENDORS


@pytest.fixture
def load(db: Any) -> Callable[..., list[str]]:
    """Run the command; what it says, line by line."""

    def run(*arguments: str) -> list[str]:
        said = StringIO()
        call_command("load_presets", *arguments, stdout=said)
        return said.getvalue().splitlines()

    return run


def test_what_is_missing_is_made_and_what_someone_changed_stays(load: Callable[..., list[str]]) -> None:
    own = LLMSettings.objects.create(model_name="GPT-6-Luna", temperature=0)
    *lines, total = load()
    number = len(presets())
    assert total == f"{number - 1} made, 0 kept, 1 left alone."
    assert len(lines) == number
    assert any(line.startswith(f"left alone: {own}") for line in lines)
    opus = LLMSettings.objects.get(model_name="claude-opus-5-5")
    assert (opus.max_tokens, opus.max_length, opus.temperature) == (128_000, 872_000, None)
    assert opus.metadata["source"].startswith("https://platform.claude.com/")

    opus.max_tokens = 4_000
    opus.save()
    LLMSettings.objects.filter(model_name="gemini-3.8-flash").update(temperature=0.3)
    LLMSettings.objects.filter(model_name="gpt-6.1-sol").delete()
    before = list(LLMSettings.objects.order_by("pk").values())
    assert load()[-1] == f"1 made, {number - 3} kept, 2 left alone."
    assert list(LLMSettings.objects.order_by("pk").values())[:-1] == before
    assert LLMSettings.objects.latest("pk").model_name == "gpt-6.1-sol"


def test_those_of_one_vendor(load: Callable[..., list[str]]) -> None:
    load("--vendor", "anthropic")
    assert {name.partition("-")[0] for name in LLMSettings.objects.values_list("model_name", flat=True)} == {"claude"}


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.model_name)
def test_presets_are_sound_and_agree_with_the_windows(preset: Any, db: Any) -> None:
    assert preset.vendor in VENDORS
    LLMSettings(model_name=preset.model_name, max_tokens=preset.max_tokens, max_length=preset.max_length).full_clean()
    if preset.vendor == "google_ai":  # which limits the question by itself
        assert WINDOWS["gemini-"] == preset.max_length
    else:
        assert input_budget(preset.model_name, max_tokens=preset.max_tokens) == preset.max_length


def test_there_is_room_for_what_anthropic_is_asked_for() -> None:
    assert DEFAULT_MAX_TOKENS >= MAX_TOKENS
