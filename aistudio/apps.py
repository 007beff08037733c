from importlib import import_module

from django.apps import AppConfig

from core.rest.errors import register_errors


class AIStudioConfig(AppConfig):
    name = "aistudio"
    verbose_name = "AI Studio"

    def ready(self) -> None:
        import_module("aistudio.checks")  # registers them
        register_errors(import_module("aistudio.errors").HTTP_ERRORS)  # it needs models, which are loaded by now
