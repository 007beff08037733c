from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from llms.presets import Loaded, load_presets, presets

REASONS = {"left alone": ", for this model has other settings", "kept": "", "made": ""}


class Command(BaseCommand):
    help = (
        "Makes LLM settings for current models, with the limits that their vendors publish. A model that has settings "
        "keeps them as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        vendors = sorted({preset.vendor for preset in presets()})
        parser.add_argument("--vendor", choices=vendors, default="", help="only those of this vendor")

    def handle(self, *args: Any, vendor: str, **options: Any) -> None:
        loaded = load_presets(vendor)
        for each in loaded:
            self.stdout.write(line(each))
        counts = Counter(each.outcome for each in loaded)
        self.stdout.write(f"{counts['made']} made, {counts['kept']} kept, {counts['left alone']} left alone.")


def line(loaded: Loaded) -> str:
    limits = f"question {loaded.settings.max_length or 'any'}, answer {loaded.settings.max_tokens or 'any'}"
    return f"{loaded.outcome}: {loaded.settings}{REASONS[loaded.outcome]} ({limits} tokens)"
