from __future__ import annotations

import pytest

from .runtimes import THREADS, run_body


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> str:
    """The runtime of a test that is marked ``on_each_runtime`` or the like."""
    name: str = request.param
    return name


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the body of a test on the runtime that it asked for."""
    runtime = pyfuncitem.funcargs.get("runtime", THREADS)
    if runtime == THREADS:
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run_body(runtime, lambda: pyfuncitem.obj(**given))
    return True
