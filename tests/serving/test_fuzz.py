"""Some of what `make soak` sends: mutated requests get 200, 4xx or 503, and the worker lives on."""

import pytest
import serving_fuzz
from serving_process import Running


@pytest.mark.proof
def test_mutated_requests(server: Running) -> None:
    before = server.workers()
    statuses = serving_fuzz.fuzz(server.port, 1500, seed=7)
    assert sum(statuses.values()) == 1500 and statuses[200] > 50 and statuses[400] > 300
    assert not [status for status in statuses if status >= 500 and status != 503]
    assert server.workers() == before and server.ask("/v2/health/live").status == 200
