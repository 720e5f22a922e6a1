"""The login: the settings that say it, what contradicts what, and which source's login wins."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg2.extensions
import pytest

from dbkit.settings import DatabaseSettings, Secret

GROUP = ("credential", "identity_enabled", "credential_scope", "password_file", "allow_insecure_token")
AZURE = {"DB_HOST": "prod", "DB_USER": "app", "IDENTITY_ENABLED": "True", "DB_ALLOW_INSECURE_TOKEN": "on"}
TOKEN = {"credential": "gcp", "credential_scope": "scope", "allow_insecure_token": True}


def proof(settings):
    """What is used to log in: the credential, or the password."""
    return settings.credential or (settings.password and settings.password.reveal())


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


# Which source wins


def test_the_strongest_source_that_says_anything_wins(load, tmp_path):
    (tmp_path / ".env").write_text("IDENTITY_ENABLED=True")
    assert proof(load(environ={"DB_HOST": "h"})) == "azure"
    assert proof(load(environ={"DB_PASSWORD": "p"})) == "p"
    assert proof(load(environ={"DB_CREDENTIAL": "gcp"})) == "gcp"
    (tmp_path / ".env").write_text("DB_PASSWORD=p")
    assert proof(load(environ={"IDENTITY_ENABLED": "True"})) == "azure"
    assert proof(load(environ={"DB_CREDENTIAL": "aws"})) == "aws"


def test_the_switch_may_have_a_password_beside_it(load, tmp_path):
    """For when it is off."""
    on = {"IDENTITY_ENABLED": "True", "DB_PASSWORD": "p"}
    assert proof(load(environ=on)) == "azure"
    assert proof(load(environ=on | {"IDENTITY_ENABLED": "False"})) == "p"
    assert proof(load(environ=on, identity_enabled=False)) == "p"
    assert proof(load(environ=on, credential="password")) == "p"
    assert proof(load(environ={"DATABASE_URL": "postgresql://u:p@h/d", "IDENTITY_ENABLED": "1"})) == "azure"
    (tmp_path / ".env").write_text("IDENTITY_ENABLED=True\nDB_PASSWORD=p")
    assert proof(load()) == "azure"
    assert proof(load(environ={"IDENTITY_ENABLED": "False"})) == "p"


def test_turned_off_a_password_of_a_still_weaker_source_counts(load, tmp_path):
    (tmp_path / ".env").write_text("DB_PASSWORD=p")
    assert proof(load(environ={"DB_CREDENTIAL": "aws"}, credential="password")) == "p"
    assert proof(load(environ={"IDENTITY_ENABLED": "1"}, identity_enabled=False)) == "p"


def test_passwords_that_contradict_each_other_do_not_matter_under_a_stronger_login(load, refused):
    twice = {"DB_PASSWORD": "p", "DATABASE_URL": "postgresql://u:q@h/d", "DB_PASSWORD_FILE": "/no/such"}
    assert {fault.key for fault in refused(environ=twice)} == {"password"}
    assert proof(load(environ=twice, credential="aws")) == "aws"
    assert proof(load(environ=twice | {"IDENTITY_ENABLED": "1"})) == "azure"
    assert proof(load(environ={"DB_PASWORD": "p", "DB_CREDENTIAL": "aws"})) == "aws"


@pytest.mark.parametrize(
    "weak", [{"IDENTITY_ENABLED": "True"}, {"DB_CREDENTIAL": "gcp"}, {"IDENTITY_ENABLED": "nonsense"}]
)
def test_a_password_given_in_code_or_by_a_url_turns_a_weaker_credential_off(load, tmp_path, weak):
    (tmp_path / "pw").write_text("p")
    for given in ({"password": "p"}, {"password_file": "pw"}):
        assert proof(load(given, environ=weak)) == "p"
        assert proof(load(environ=weak, **given)) == "p"
    assert proof(load("postgresql://u:p@h/d", environ=weak)) == "p"
    (tmp_path / ".env").write_text("\n".join(f"{key}={value}" for key, value in weak.items()))
    settings = load(environ={"DATABASE_URL": "postgresql://u:p@h/d"})
    assert proof(settings) == "p" and settings.origin("identity_enabled") == "default"


def test_a_credential_given_in_code_replaces_what_weaker_sources_say(load):
    for environ in ({"DB_PASSWORD": "p"}, {"IDENTITY_ENABLED": "True"}, {"DB_CREDENTIAL": "aws"},
                    {"IDENTITY_ENABLED": "False"}, {"DB_PASSWORD": "p", "DB_PASSWORD_FILE": "/x"}):  # fmt: skip
        assert proof(load(environ=environ, credential="gcp")) == "gcp"
        assert proof(load({"credential": "gcp"}, environ=environ)) == "gcp"
    for kind in ("aws", "gcp", "password"):
        assert load(environ={"DB_CREDENTIAL": kind}, identity_enabled=True).credential == "azure"
    assert proof(load(environ=AZURE | {"DB_PASSWORD": "p"}, credential="password")) == "p"
    assert proof(load(environ={"DB_CREDENTIAL": "azure", "IDENTITY_ENABLED": "1"}, identity_enabled=False)) is None


def test_a_scope_goes_with_its_credential(load, tmp_path):
    environ = {"DB_CREDENTIAL": "azure", "DB_CREDENTIAL_SCOPE": "s"}
    assert load(environ=environ, credential="gcp").credential_scope is None
    assert load(environ=environ, credential="aws").credential_scope is None
    assert load(environ=environ, credential="password").credential_scope is None
    assert load(environ=environ, identity_enabled=True).credential_scope == "s"
    assert load(environ={"DB_CREDENTIAL_SCOPE": "s"}, credential="gcp").credential_scope == "s"
    (tmp_path / ".env").write_text("DB_CREDENTIAL=azure\nDB_CREDENTIAL_SCOPE=s")
    assert load(environ={"DB_CREDENTIAL": "gcp"}).credential_scope is None


@pytest.mark.parametrize("source", [
    "postgresql://localhost/test", "postgresql://app@localhost/test", "postgresql://admin@prod/shop",
    {"host": "localhost"}, {"host": "prod", "user": "admin"}, {"user": "admin"}, {"service": "shop"},
])  # fmt: skip
@pytest.mark.parametrize("login", [
    {"IDENTITY_ENABLED": "True"}, {"DB_CREDENTIAL": "azure", "DB_CREDENTIAL_SCOPE": "s"},
    {"DB_CREDENTIAL": "file", "DB_PASSWORD_FILE": "/run/x"},
])  # fmt: skip
def test_a_token_goes_to_no_other_server_and_for_no_other_user(load, source, login):
    settings = load(source, environ={"DB_HOST": "prod", "DB_USER": "app", "DB_ALLOW_INSECURE_TOKEN": "1", **login})
    assert (proof(settings), settings.credential_scope, settings.allow_insecure_token) == (None, None, False)
    assert settings.password_file is None


@pytest.mark.parametrize("source", ["postgresql://app@prod/shop", {"host": "prod", "user": "app"}, {"port": 1}])
def test_a_credential_of_the_same_server_and_user_fills_in(load, source):
    settings = load(source, environ=AZURE)
    assert (proof(settings), settings.allow_insecure_token) == ("azure", True)
    assert proof(load(environ=AZURE, host="replica")) == "azure"  # keyword arguments adjust
    assert proof(load("postgresql://x@y/z", environ={"IDENTITY_ENABLED": "1"})) == "azure"


# replace()


def test_replace(load, tmp_path):
    (tmp_path / "pw").write_text("from a file")
    token, word = load(TOKEN, username="u"), load(password="p", username="u")
    file = load(credential="file", password_file="./pw")
    identity = load(environ=AZURE)
    for settings in (token, word, file, identity):
        assert proof(settings.replace(password="new")) == "new"
        assert settings.replace(password="new").origin("credential") == "default"
        assert proof(settings.replace(credential="aws")) == "aws"
        assert proof(settings.replace(identity_enabled=True)) == "azure"
        assert proof(settings.replace(credential="file", password_file="/y")) == "file"
        assert proof(settings.replace(port=1)) == proof(settings)
        assert proof(settings.replace(password_file="pw")) == "from a file"
    assert file.replace(credential="file", password_file="/y").password_file == "/y"
    assert proof(file.replace(credential="password")) == "from a file"
    assert proof(token.replace(credential="password")) is None
    assert proof(identity.replace(identity_enabled=False)) is None
    assert proof(identity.replace(identity_enabled=False, password="p")) == "p"
    assert token.replace(credential="aws").credential_scope is None
    assert token.replace(password="new").secrets() == {"password": Secret("new")}
    assert word.replace(credential="aws").secrets() == {}


def test_replace_that_contradicts(load):
    from dbkit.errors import SettingsError

    assert load(credential="azure").replace(identity_enabled=False).credential is None
    with pytest.raises(SettingsError, match="needs password_file"):
        load(password="p").replace(credential="file")


def test_equal_where_the_same_is_said(load, tmp_path):
    assert load(environ=AZURE) == load(
        {"host": "prod", "user": "app", "identity_enabled": True, "allow_insecure_token": "yes"}
    )
    assert load(credential="aws") == load(credential="aws", environ={"DB_PASSWORD": "unused"})
    assert load(credential="aws") != load(credential="gcp")
    one, other = (load(credential="file", password_file=f"/{name}") for name in "ab")
    assert one != other and len({one, other, load({"password_file": "/a", "credential": "file"})}) == 2
