"""The entry point of ASGI servers: sets Django up, then loads the application, which needs that."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aistudio.settings")
django.setup(set_prefix=False)

from aistudio.application import proxied as application  # noqa: E402

__all__ = ("application",)
