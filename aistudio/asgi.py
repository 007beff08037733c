"""The one entry point: sets Django up, which what is served needs before it is loaded."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aistudio.settings")
django.setup(set_prefix=False)

from aistudio.application import application, proxied  # noqa: E402

__all__ = ("application", "proxied")
