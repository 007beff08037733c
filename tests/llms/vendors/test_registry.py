"""Adapters are there when they are asked for, and not before."""

import subprocess
import sys

import pytest

from llms.vendors.errors import VendorError
from llms.vendors.registry import ADAPTERS, VENDORS, adapter
from tests.live import ROOT

LAZY = ("aiohttp", "llms.vendors.http", "llms.vendors.adapter", *ADAPTERS.values())


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_an_adapter(vendor: str) -> None:
    assert vendor in VENDORS
    assert adapter(vendor) is adapter(vendor)


def test_every_vendor_has_an_adapter() -> None:
    assert ADAPTERS.keys() == VENDORS.keys()


def test_a_vendor_without_an_adapter() -> None:
    with pytest.raises(VendorError) as caught:
        adapter("nobody")
    assert caught.value.code == "unsupported"
    assert not caught.value.retryable
    assert "nobody" in caught.value.detail


def test_the_project_loads_none_of_them() -> None:
    script = f"""
import sys, django
from django.conf import settings
import tests.settings
django.setup()
import llms.models, llms.vendors.registry, aistudio.urls
print([name for name in {LAZY} if name in sys.modules])
"""
    command = [sys.executable, "-c", script]
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
