"""Which source's login wins, and what ``replace`` makes of one."""

from __future__ import annotations

import pytest

from dbkit.errors import SettingsError
from dbkit.settings import Secret

from .logins import AZURE, TOKEN, proof


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
