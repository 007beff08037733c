from importlib import import_module

from django.apps import AppConfig


class AIStudioConfig(AppConfig):
    name = "aistudio"
    verbose_name = "AI Studio"

    def ready(self) -> None:
        import_module("aistudio.checks")  # registers them
