"""The exit status of a server of several workers."""

from types import SimpleNamespace

import pytest

from core.server.supervisor import Supervisor


@pytest.mark.parametrize(("exit_codes", "status"), [([-15, -15], 0), ([None, 0], 0), ([-15, 3], 3), ([], 0)], ids=str)
def test_it_is_that_of_a_worker_that_could_not_start(exit_codes: list[int | None], status: int) -> None:
    supervisor = Supervisor.__new__(Supervisor)  # without its handlers of signals
    supervisor.processes = [SimpleNamespace(exitcode=code) for code in exit_codes]  # type: ignore[misc]
    assert supervisor.exit_status == status
