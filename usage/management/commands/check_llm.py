from argparse import ArgumentParser

from django.core.management.base import CommandError

from core.database.casefold import fold
from core.management.arguments import utf_8
from core.management.output import SafeCommand
from llms.models import LLM, LLMSettings
from usage.checks import MOST_TOKENS, SECONDS, check


class Command(SafeCommand):
    help = (
        f"Checks the endpoint, key and model of an LLM with one question of at most {SECONDS} s and {MOST_TOKENS} "
        "tokens. If it does not answer, says what is wrong and what to do, and exits with 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("llm", type=utf_8, metavar="NAME", help="the LLM's name or id")
        parser.add_argument(
            "--model",
            type=utf_8,
            default="",
            help="the model to ask (default: the settings', else the LLM's)",
        )
        parser.add_argument("--settings-id", type=int, metavar="ID", help="the LLM settings to ask with")

    def handle(self, *args: object, llm: str, model: str, settings_id: int | None, **options: object) -> None:
        settings = LLMSettings.objects.filter(pk=settings_id).first() if settings_id is not None else None
        if settings_id is not None and settings is None:
            raise CommandError(f"There are no LLM settings with the id {settings_id}.")
        checked = find_llm(llm)
        result = check(llm=checked, settings=settings, model=model)
        self.say(f"{checked} ({checked.get_vendor_display()}), model {result.model or 'none'}")
        for step in result.steps:
            mark = {True: "ok", False: "FAILED", None: "-"}[step.passed]
            self.say(f"{step.name:<10}{mark:<8}{step.detail}")
        self.say(f"It took {result.duration_ms:,} ms.")
        if not result.ok:
            raise CommandError(f"{result.code}: {result.advice}")


def find_llm(name: str) -> LLM:
    """The LLM with this name or id; raises CommandError."""
    llm = LLM.objects.filter(name_folded=fold(name)).first()
    if llm is None and name.isascii() and name.isdecimal():
        llm = LLM.objects.filter(pk=int(name)).first()
    if llm is None:
        names = ", ".join(LLM.objects.values_list("name", flat=True)[:20]) or "none"
        raise CommandError(f"There is no LLM with the name or id {name}. There are: {names}.")
    return llm
