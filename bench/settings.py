"""The project's own settings, with the bare views of bench/urls.py beside its API."""

from aistudio.settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
