"""System checks of the settings; `manage.py check --deploy` runs them."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register(deploy=True)
def check_local_env(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """A server in production must not take its settings from a file for trying and developing."""
    if not (settings.LOCAL_ENV and settings.LOCAL_ENV_FILE.exists()):
        return []
    hint = "Set LOCAL_ENV=0 in the environment, as make serve does, or delete the file."
    return [Warning(".env.local is read, which is for development.", hint=hint, id="aistudio.W001")]
