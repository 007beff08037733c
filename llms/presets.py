"""Settings for current models, as their vendors publish their limits."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from django.db import transaction

from core.database.casefold import fold
from llms.context_windows import FOR_THE_ANSWER
from llms.models import LLMSettings

FILE = Path(__file__).with_name("presets.toml")
VALUES = ("max_tokens", "max_length")


@dataclass(frozen=True, slots=True)
class Preset:
    """What is stored for a model, and where its limits are published."""

    vendor: str
    model_name: str
    max_tokens: int | None
    max_length: int
    source: str
    as_of: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a preset: made; kept, as it was there; left alone, as the model has other settings."""

    preset: Preset
    outcome: Literal["made", "kept", "left alone"]
    settings: LLMSettings


def presets(vendor: str = "") -> list[Preset]:
    """Those of a vendor, or of all."""
    document = tomllib.loads(FILE.read_text())
    found = [preset_of(model, str(document["as_of"])) for model in document["models"]]
    return [preset for preset in found if vendor in ("", preset.vendor)]


def preset_of(model: dict[str, Any], as_of: str) -> Preset:
    output = model.get("output")
    question = model.get("input") or model["window"] - (output or FOR_THE_ANSWER)
    return Preset(model["vendor"], model["name"], output, question, model["source"], as_of)


@transaction.atomic
def load_presets(vendor: str = "") -> list[Loaded]:
    """Make what is missing. A model that has settings keeps them: someone may have changed them, and chats use them."""
    return [load(preset) for preset in presets(vendor)]


def load(preset: Preset) -> Loaded:
    there = list(LLMSettings.objects.filter(model_name_folded=fold(preset.model_name)))
    same = [each for each in there if all(getattr(each, name) == getattr(preset, name) for name in VALUES)]
    if there:
        return Loaded(preset, "kept", same[0]) if same else Loaded(preset, "left alone", there[0])
    values = {name: getattr(preset, name) for name in ("model_name", *VALUES)}
    metadata = {"preset": preset.vendor, "source": preset.source, "as_of": preset.as_of}
    return Loaded(preset, "made", LLMSettings.objects.create(**values, metadata=metadata))
