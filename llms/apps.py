from django.apps import AppConfig


class LLMsConfig(AppConfig):
    name = "llms"
    verbose_name = "LLMs"
