from argparse import ArgumentParser
from collections import Counter

from core.management.output import SafeCommand
from llms.presets import load_presets, presets


class Command(SafeCommand):
    help = (
        "Creates LLM settings for current models, with the limits that their vendors publish. A model that has "
        "settings keeps them as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        vendors = sorted({preset.vendor for preset in presets()})
        parser.add_argument("--vendor", choices=vendors, default="", help="only the models of this vendor")

    def handle(self, *args: object, vendor: str, **options: object) -> None:
        results = load_presets(vendor)
        for result in results:
            settings = result.settings
            reason = ", for this model has other settings" if result.outcome == "left alone" else ""
            limits = f"question {settings.max_length or 'any'}, answer {settings.max_tokens or 'any'}"
            self.say(f"{result.outcome}: {settings}{reason} ({limits} tokens)")
        counts = Counter(result.outcome for result in results)
        self.say(f"{counts['made']} made, {counts['kept']} kept, {counts['left alone']} left alone.")
