"""Settings for current models, with the limits that their vendors publish."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.db import transaction

from core.database.casefold import fold
from llms.context_windows import DEFAULT_MAX_TOKENS
from llms.models import LLMSettings

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True, slots=True)
class Preset:
    """The limits of a model in tokens, and the page on which they are published."""

    vendor: str
    model_name: str
    max_tokens: int | None
    max_length: int
    source: str
    as_of: str


@dataclass(frozen=True, slots=True)
class PresetResult:
    """The settings that a model has after loading: made now, kept because equal, or other settings left alone."""

    preset: Preset
    outcome: Literal["made", "kept", "left alone"]
    settings: LLMSettings


def presets(vendor: str = "") -> list[Preset]:
    """The presets of a vendor, or of all vendors."""
    document = tomllib.loads(FILE.read_text())
    return [
        Preset(
            vendor=model["vendor"],
            model_name=model["name"],
            max_tokens=model.get("output"),
            max_length=model.get("input") or model["window"] - model.get("output", DEFAULT_MAX_TOKENS),
            source=model["source"],
            as_of=str(document["as_of"]),
        )
        for model in document["models"]
        if vendor in ("", model["vendor"])
    ]


@transaction.atomic
def load_presets(vendor: str = "") -> list[PresetResult]:
    """Create settings for models that have none. Existing settings stay: chats use them, and someone may have changed
    them."""
    return [load_preset(preset) for preset in presets(vendor)]


def load_preset(preset: Preset) -> PresetResult:
    """Make the settings of a preset if there are none for its model."""
    existing = list(LLMSettings.objects.filter(model_name_folded=fold(preset.model_name)))
    for settings in existing:
        if (settings.max_tokens, settings.max_length) == (preset.max_tokens, preset.max_length):
            return PresetResult(preset, "kept", settings)
    if existing:
        return PresetResult(preset, "left alone", existing[0])
    settings = LLMSettings.objects.create(
        model_name=preset.model_name,
        max_tokens=preset.max_tokens,
        max_length=preset.max_length,
        metadata={"preset": preset.vendor, "source": preset.source, "as_of": preset.as_of},
    )
    return PresetResult(preset, "made", settings)
