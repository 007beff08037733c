"""What browsers are told that a page may do, by what is shown."""

import pytest
from django.test import Client

from tests.people import Person, client_of

STRICT = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


@pytest.mark.parametrize("path", ["/", "/profile", "/profile/password", "/conversations", "/nothing"])
def test_our_own_pages_run_and_load_only_this_servers_files(bob: Person, path: str) -> None:
    assert client_of(bob).get(path)["Content-Security-Policy"] == STRICT
    assert Client().get("/sign-in")["Content-Security-Policy"] == STRICT


def test_pages_may_use_no_device(alice: Person) -> None:
    for path in ("/", "/admin/", "/api/v1/docs", "/nothing"):
        policy = client_of(alice).get(path)["Permissions-Policy"]
        assert {"camera=()", "microphone=()", "geolocation=()", "payment=()", "usb=()"} <= set(policy.split(", "))
        assert "clipboard" not in policy  # there are buttons that copy


def test_pages_that_are_not_ours_get_what_they_need_and_no_more(alice: Person) -> None:
    admin = client_of(alice).get("/admin/")["Content-Security-Policy"]
    assert admin == f"{STRICT}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
    assert Client().get("/api/v1/docs")["Content-Security-Policy"] == f"{STRICT}; style-src 'self' 'unsafe-inline'"
