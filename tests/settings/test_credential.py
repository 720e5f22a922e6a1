"""The login: the settings that say it, what contradicts what, and where it shows."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg2.extensions
import pytest

from dbkit.settings import DatabaseSettings, Secret

from .logins import AZURE, TOKEN, proof

GROUP = ("credential", "identity_enabled", "credential_scope", "password_file", "allow_insecure_token")


# What may be said


@pytest.mark.parametrize("kind", ["azure", "aws", "gcp"])
def test_a_credential_from_anywhere(load, tmp_path, kind):
    (tmp_path / "app.ini").write_text(f"[postgresql]\ncredential={kind}")
    for settings, origin in (
        (load(environ={"DB_CREDENTIAL": kind}), "environment variable DB_CREDENTIAL"),
        (load({"credential": kind}), "mapping"),
        (load(f"postgresql://u@h/d?credential={kind}"), "URL"),
        (load(credential=kind), "argument"),
        (DatabaseSettings.from_ini("app.ini", environ={}), "app.ini, [postgresql] credential"),
    ):
        assert (settings.credential, settings.origin("credential")) == (kind, origin)
        assert (settings.password, settings.origin("password")) == (None, origin)


def test_nothing_said(load):
    settings = load()
    assert (settings.credential, settings.credential_scope, settings.password_file) == (None, None, None)
    assert settings.allow_insecure_token is False
    assert {settings.origin(key) for key in GROUP} == {"default"}
    assert not any(key in settings.describe() for key in GROUP)
    assert proof(load(credential="password", password="p")) == "p"


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "1", "yes", "on", " on ", True, 1])
def test_true(load, text):
    settings = load({"identity_enabled": text, "allow_insecure_token": text})
    assert (settings.credential, settings.allow_insecure_token) == ("azure", True)
    assert settings == load({"identity_enabled": True, "allow_insecure_token": True})


@pytest.mark.parametrize("text", ["False", "false", "0", "no", "off", False, 0])
def test_false(load, text):
    settings = load({"identity_enabled": text, "allow_insecure_token": text}, password="p")
    assert (proof(settings), settings.allow_insecure_token) == ("p", False)


@pytest.mark.parametrize("key", ["identity_enabled", "allow_insecure_token"])
@pytest.mark.parametrize("value", ["", "y", "maybe", "None", 2, 1.0, ["true"]])
def test_neither_true_nor_false(refused, key, value):
    [fault] = refused({key: value})
    assert (fault.key, fault.value, fault.origin) == (key, repr(value), "mapping")
    assert "true or false" in fault.reason


@pytest.mark.parametrize("value", ["Azure", "azure ", "", "token", 5, object(), ["azure"]])
def test_no_kind_of_credential(refused, value):
    [fault] = refused({"credential": value})
    assert (fault.key, fault.value) == ("credential", "")
    assert "password, azure, aws, gcp, file" in fault.reason
    assert ("DatabaseConnectionManager" in fault.reason) is not isinstance(value, str)


def test_identity_enabled_has_the_name_its_documents_give_it(load, refused):
    assert load(environ={"IDENTITY_ENABLED": ""}).credential is None
    [fault] = refused(environ={"DB_IDENTITY_ENABLED": "True"})
    assert fault.key == "DB_IDENTITY_ENABLED" and "IDENTITY_ENABLED" in fault.reason
    assert load(environ={"DB_IDENTITY_ENABLED": "True", "IDENTITY_ENABLED": "True"}).credential == "azure"


def test_identity_enabled_and_a_credential(load, refused):
    assert load({"identity_enabled": True, "credential": "azure"}).credential == "azure"
    assert load({"identity_enabled": False, "credential": "aws"}).credential == "aws"
    for said, kind in (("True", "aws"), ("True", "password"), ("False", "azure")):
        [fault] = refused(environ={"DB_CREDENTIAL": kind, "IDENTITY_ENABLED": said})
        assert (fault.key, fault.value) == ("identity_enabled", repr(said))
        assert fault.origin == "environment variable IDENTITY_ENABLED"
        assert f"credential is {kind} (environment variable DB_CREDENTIAL)" in fault.reason


def test_in_two_sources_they_do_not_contradict_each_other(load, tmp_path):
    for said, kind in (("True", "aws"), ("False", "azure")):
        (tmp_path / ".env").write_text(f"IDENTITY_ENABLED={said}")
        assert load(environ={"DB_CREDENTIAL": kind}).credential == kind
    (tmp_path / ".env").write_text("DB_CREDENTIAL=azure")
    assert load(environ={"IDENTITY_ENABLED": "False"}).credential is None


@pytest.mark.parametrize("kind", ["azure", "aws", "gcp", "file"])
def test_a_password_beside_a_credential_contradicts_it(refused, load, kind):
    environ = {"DB_CREDENTIAL": kind, "DB_PASSWORD": "p"} | ({"DB_PASSWORD_FILE": "/x"} if kind == "file" else {})
    [fault] = refused(environ=environ)
    assert (fault.key, fault.value, fault.origin) == ("password", "", "environment variable DB_PASSWORD")
    assert fault.reason == (
        f"would not be used, but credential is {kind} (environment variable DB_CREDENTIAL); keep one of the two"
    )
    assert proof(load(environ=environ, password="mine")) == "mine"  # nobody asks them


def test_a_file_beside_a_token_contradicts_it(refused):
    [fault] = refused({"credential": "aws", "password_file": "/x"})
    assert (fault.key, fault.value, fault.origin) == ("password_file", "", "mapping")
    assert "credential is aws (mapping)" in fault.reason


def test_a_scope_is_for_those_who_have_one(load, refused):
    for kind in ("azure", "gcp"):
        assert load(credential=kind, credential_scope="https://x/.default").credential_scope == "https://x/.default"
    assert load(credential_scope="s").credential_scope == "s"  # for a credential given in code
    assert load(identity_enabled=False, credential_scope="s").credential_scope == "s"
    assert load(credential="password", credential_scope="s").credential is None
    [fault] = refused({"credential_scope": "s"}, environ={"DB_CREDENTIAL": "aws"})
    assert (fault.key, fault.value, fault.origin) == ("credential_scope", "'s'", "mapping")
    assert "is for azure and gcp, but credential is aws (environment variable DB_CREDENTIAL)" in fault.reason
    assert refused(credential_scope="")[0].key == "credential_scope"


def test_two_in_one_source(load, refused):
    url = {"DATABASE_URL": "postgresql:///d?credential=azure&credential_scope=s"}
    for variable, value, shown in (("DB_CREDENTIAL", "aws", "'aws'"), ("DB_CREDENTIAL", "nonsense", "")):
        [fault] = refused(environ=url | {variable: value})
        assert (fault.key, fault.value, fault.origin) == ("credential", shown, f"environment variable {variable}")
    assert load(environ=url | {"DB_CREDENTIAL": "azure"}).credential == "azure"
    [fault] = refused(
        environ={"DATABASE_URL": "postgresql:///d?credential=file&password_file=/x", "DB_PASSWORD_FILE": "/y"}
    )
    assert (fault.key, fault.value, fault.origin) == ("password_file", "", "environment variable DB_PASSWORD_FILE")


# Where it shows


def test_the_driver_is_given_none_of_it(load, tmp_path):
    for given in ({**TOKEN, "identity_enabled": False}, {"credential": "file", "password_file": tmp_path / "pw"},
                  {"identity_enabled": True, "password": "p"}):  # fmt: skip
        settings = load(given, sslpassword="k")
        assert not set(GROUP) & {*settings.connect_params(), *settings.options, *settings.secrets()}
        assert settings.secrets() == {"sslpassword": Secret("k")}
        psycopg2.extensions.make_dsn(**settings.connect_params())


def test_it_shows_with_its_origin(load):
    settings = load({"username": "app"}, environ=AZURE)
    assert settings.origin("identity_enabled") == "environment variable IDENTITY_ENABLED"  # as the credential
    rows = [line.split(maxsplit=2) for line in settings.describe().splitlines()]
    assert ["credential", "'azure'", "environment variable IDENTITY_ENABLED"] in rows
    assert ["allow_insecure_token", "True", "environment variable DB_ALLOW_INSECURE_TOKEN"] in rows
    assert "password" not in [row[0] for row in rows]
    assert "credential='azure' (environment variable IDENTITY_ENABLED)" in repr(settings)


# A file, read at each connection attempt


def test_the_file_is_not_read_but_kept(load, tmp_path, monkeypatch):
    settings = load(environ={"DB_CREDENTIAL": "file", "DB_PASSWORD_FILE": "./later"})
    assert (settings.credential, settings.password, settings.password_file) == ("file", None, f"{tmp_path}/later")
    assert settings.origin("password_file") == "environment variable DB_PASSWORD_FILE"
    assert f"{tmp_path}/later" in settings.describe()
    monkeypatch.chdir("/")  # as a daemon does
    assert settings.replace(port=1).password_file == f"{tmp_path}/later"
    assert load(password_file=tmp_path / "x", credential="file").password_file == str(tmp_path / "x")
    assert load(f"postgresql:///d?credential=file&password_file={tmp_path}/x").password_file == f"{tmp_path}/x"


@pytest.mark.parametrize("path", ["name", "~/name", "a/b", "/a\0b", ""])
def test_a_path_that_may_be_something_else(refused, path):
    [fault] = refused({"credential": "file", "password_file": path})
    assert (fault.key, fault.value) == ("password_file", "")
    assert "NUL" in fault.reason or "begin with" in fault.reason


def test_a_relative_path_needs_a_current_directory(refused, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    Path(tmp_path / "gone").rmdir()
    with pytest.raises(OSError):
        os.getcwd()  # noqa: PTH109
    [fault] = refused(credential="file", password_file="./x", env_file=None)
    assert (fault.key, fault.value) == ("password_file", "")


def test_a_file_credential_needs_a_file(refused):
    [fault] = refused(environ={"DB_CREDENTIAL": "file"})
    assert (fault.key, fault.origin) == ("credential", "environment variable DB_CREDENTIAL")
    assert "password_file" in fault.reason
    [fault] = refused({"credential": "file"}, environ={"DB_PASSWORD": "p"})
    assert fault.key == "credential" and "the password (environment variable DB_PASSWORD) is none" in fault.reason
    slip, fault = refused(environ={"DB_CREDENTIAL": "file", "DB_PASSWORD_FIL": "/x"})[::-1]
    assert (slip.key, fault.key) == ("DB_PASSWORD_FIL", "credential")


def test_a_stronger_password_or_file_wins_whole(load, tmp_path):
    (tmp_path / "pw").write_text("read once")
    (tmp_path / ".env").write_text("DB_CREDENTIAL=file\nDB_PASSWORD_FILE=/run/x")
    assert (proof(load()), load().password_file) == ("file", "/run/x")
    settings = (load(environ={"DB_PASSWORD": "p"}), load(password="p"), load({"password": "p"}),
                load("postgresql://u:p@h/d"))  # fmt: skip
    assert {(proof(each), each.password_file) for each in settings} == {("p", None)}
    settings = (load(environ={"DB_PASSWORD_FILE": "./pw"}), load(password_file="./pw"), load({"password_file": "pw"}))
    assert {(proof(each), each.password_file) for each in settings} == {("read once", None)}


def test_a_file_for_a_credential_given_in_code(load):
    environ = {"DB_PASSWORD_FILE": "/no/such"}
    assert load(credential="file", environ=environ).password_file == "/no/such"
    settings = load(credential="aws", environ=environ)  # not read, so not missed
    assert (proof(settings), settings.password_file) == ("aws", None)
