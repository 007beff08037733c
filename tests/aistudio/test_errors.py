"""The errors of the apps: each has its answer in the API, in one table."""

import inspect
from types import ModuleType

import pytest

from aistudio.errors import HTTP_ERRORS
from chats import errors as chats_errors
from core.rest.errors import InvalidParameter, exception_handler, http_error
from llms import errors as llms_errors
from usage import errors as usage_errors


@pytest.mark.parametrize("module", [chats_errors, llms_errors, usage_errors])
def test_each_error_of_an_app_has_an_answer(module: ModuleType) -> None:
    errors = {kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__}
    assert errors
    assert errors - set(HTTP_ERRORS) <= {chats_errors.ChatError}  # which is only the base of others


ANSWERS = {
    chats_errors.SessionNotFound(): (404, "not_found", "Not found."),
    chats_errors.AnswerInProgress("Wait."): (409, "conflict", "Wait."),
    chats_errors.RunnerUnavailable("Soon."): (503, "unavailable", "Soon."),
    usage_errors.VendorsBusy("Busy."): (503, "unavailable", "Busy."),
}


@pytest.mark.parametrize(("error", "expected"), ANSWERS.items())
def test_the_api_says_what_the_error_says(error: Exception, expected: tuple[int, str, str]) -> None:
    response = exception_handler(error, {})
    assert response
    [described] = response.data["errors"]
    assert (response.status_code, described["code"], described["detail"]) == expected
    assert response.headers.get("Retry-After") == ("5" if expected[0] == 503 else None)


def test_an_error_that_names_a_parameter_keeps_it() -> None:
    problem = http_error(chats_errors.InvalidPosition("after", "There is none."))
    assert isinstance(problem, InvalidParameter)
    assert (problem.parameter, str(problem.detail)) == ("after", "There is none.")


def test_another_error_has_none() -> None:
    assert http_error(ValueError("x")) is None
    assert exception_handler(ValueError("x"), {}) is None
