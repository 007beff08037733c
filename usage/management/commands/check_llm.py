from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.database.casefold import fold
from core.management.arguments import utf_8
from llms.models import LLM, LLMSettings
from usage.checks import MOST_TOKENS, SECONDS, Step, check


class Command(BaseCommand):
    help = (
        f"Checks whether an LLM answers, in at most {SECONDS} s and {MOST_TOKENS} tokens: its endpoint, key and model. "
        "Says what is wrong and what to do; the exit status is 0 when it answers, else 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("llm", type=utf_8, metavar="NAME", help="its name or id")
        parser.add_argument(
            "--model", type=utf_8, default="", help="ask this model; else the settings', the LLM's default"
        )
        parser.add_argument("--settings-id", type=int, metavar="ID", help="ask with these LLM settings")

    def handle(self, *args: Any, llm: str, model: str, settings_id: int | None, **options: Any) -> None:
        found, call_settings = llm_of(llm), settings_of(settings_id)
        checked = check(llm=found, settings=call_settings, model=model)
        self.stdout.write(f"{found} ({found.get_vendor_display()}), model {checked.model or 'none'}")
        for step in checked.steps:
            self.stdout.write(line(step))
        self.stdout.write(f"It took {checked.duration_ms:,} ms.")
        if not checked.ok:
            raise CommandError(f"{checked.code}: {checked.advice}")


def llm_of(name: str) -> LLM:
    found = LLM.objects.filter(name_folded=fold(name)).first()
    if found is None and name.isascii() and name.isdecimal():
        found = LLM.objects.filter(pk=int(name)).first()
    if found is None:
        names = ", ".join(LLM.objects.values_list("name", flat=True)[:20]) or "none"
        raise CommandError(f"There is no LLM with the name or id {name}. There are: {names}.")
    return found


def settings_of(number: int | None) -> LLMSettings | None:
    if number is None:
        return None
    found = LLMSettings.objects.filter(pk=number).first()
    if found is None:
        raise CommandError(f"There are no LLM settings with the id {number}.")
    return found


def line(step: Step) -> str:
    mark = {True: "ok", False: "FAILED", None: "-"}[step.passed]
    return f"{step.name:<10}{mark:<8}{step.detail}"
