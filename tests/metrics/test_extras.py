"""A missing package is named with the extra that brings it."""

from __future__ import annotations

import sys

import pytest

from dbkit import ExtraMissingError


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("dbkit.metrics.otel", "opentelemetry", "otel"),
        ("dbkit.metrics.prometheus", "prometheus_client", "prometheus"),
    ],
)
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, module: str, package: str, extra: str) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == package or name.startswith("dbkit.metrics."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissingError, match=rf"pip install 'dbkit-postgres\[{extra}\]'"):
        __import__(module)
