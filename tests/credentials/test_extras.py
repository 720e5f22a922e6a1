"""A missing package is noticed when a credential is made; one that is there is imported no earlier than it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from dbkit.credentials import AwsRdsCredential, AzureCredential, CredentialError, GcpCredential
from dbkit.credentials.extras import need

CASES = [
    (AzureCredential, "azure.identity", "azure"),
    (AzureCredential, "azure", "azure"),
    (AwsRdsCredential, "boto3", "aws"),
    (GcpCredential, "google.auth", "gcp"),
    (GcpCredential, "google", "gcp"),
    (GcpCredential, "requests", "gcp"),
]


def check(made: type, extra: str) -> None:
    with pytest.raises(CredentialError) as caught:
        made()
    assert f"pip install 'dbkit-postgres[{extra}]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize(("made", "module", "extra"), CASES)
def test_a_module_that_is_blocked(monkeypatch: pytest.MonkeyPatch, made: type, module: str, extra: str) -> None:
    for name in list(sys.modules):
        if name.startswith(f"{module}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    check(made, extra)


@pytest.mark.parametrize(("made", "module", "extra"), CASES)
def test_a_module_that_nobody_finds(monkeypatch: pytest.MonkeyPatch, made: type, module: str, extra: str) -> None:
    for name in list(sys.modules):
        if name == module or name.startswith(f"{module}."):
            monkeypatch.delitem(sys.modules, name)

    class Absent:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            if name == module:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return None

    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    check(made, extra)


def test_a_module_that_is_not_there_at_all() -> None:
    with pytest.raises(CredentialError, match=r"no_such_sdk is not installed.*dbkit-postgres\[azure\]"):
        need("azure", "no_such_sdk")
    with pytest.raises(CredentialError, match=r"no_such_sdk\.identity is not installed"):
        need("azure", "no_such_sdk.identity")


def test_what_is_given_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Given:
        def get_token(self, *scopes: str) -> None: ...

        def generate_db_auth_token(self, *args: object) -> None: ...

    monkeypatch.setitem(sys.modules, "azure.identity", None)
    monkeypatch.setitem(sys.modules, "boto3", None)
    AzureCredential(Given())  # type: ignore[arg-type]
    AwsRdsCredential(client=Given())  # type: ignore[arg-type]


def test_making_credentials_imports_no_sdk() -> None:
    program = """
import sys
from dbkit.credentials import AwsRdsCredential, AzureCredential, GcpCredential
AwsRdsCredential(), AzureCredential(), GcpCredential()
print(sorted({"azure.identity", "azure.core", "boto3", "botocore", "google.auth", "requests"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "[]"
