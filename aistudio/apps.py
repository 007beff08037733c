from django.apps import AppConfig


class AIStudioConfig(AppConfig):
    name = "aistudio"
    verbose_name = "AI Studio"
