"""Each source by itself: what is read from it, under which origin, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbkit.errors import SettingsError
from dbkit.settings import DatabaseSettings, Secret

KEYS = {"host": "DB_HOST", "port": "DB_PORT", "username": "DB_USER", "password": "DB_PASSWORD", "database": "DB_NAME"}


def plain(settings):
    return settings.password and settings.password.reveal()


# One source at a time


def test_the_mapping_of_the_readme(load):
    settings = load({"host": "localhost", "port": 5432, "username": "user", "password": "pass", "database": "test_db"})
    assert (settings.host, settings.port, settings.username, settings.database) == (
        "localhost",
        5432,
        "user",
        "test_db",
    )
    assert plain(settings) == "pass"
    assert settings.origin("port") == "mapping"
    assert settings.target == "user@localhost:5432/test_db"


@pytest.mark.parametrize("name", ["database", "dbname", "name"])
@pytest.mark.parametrize("user", ["user", "username"])
def test_other_spellings(load, name, user):
    settings = load({name: "db", user: "ada", "min_conn": "1", "max_conn": "4"})
    assert (settings.database, settings.username) == ("db", "ada")
    assert (settings.policy.min_size, settings.policy.max_size) == (1, 4)
    assert (
        settings.origin("dbname")
        == settings.origin("database")
        == ("mapping" if name == "database" else f"mapping, {name}")
    )


def test_keyword_arguments(load):
    settings = load(host="h", max_idle=None, timeout="5", password=Secret("p"))
    assert settings.policy.max_idle is None
    assert settings.policy.timeout == 5.0
    assert plain(settings) == "p"
    assert settings.origin("host") == "argument"
    assert settings.origin("max_size") == "default"
    assert settings.origin("port") == "libpq"


def test_none_means_not_set(load):
    """``{"port": os.getenv("DB_PORT")}`` where there is none."""
    settings = load({"host": "h", "port": None, "max_idle": None}, database=None)
    assert settings.port is None
    assert settings.policy.max_idle == 300
    assert "dbname" not in settings.connect_params()


def test_environment(load):
    environ = {"DB_HOST": "h", "DB_PORT": "6000", "DB_USER": "u", "DB_PASSWORD": "p", "DB_NAME": "d"}
    environ |= {"DB_MIN_CONN": "1", "DB_MAX_SIZE": "3", "DB_MAX_LIFETIME": "None", "DB_SSLMODE": "require"}
    settings = load(environ=environ)
    assert settings.target == "u@h:6000/d"
    assert plain(settings) == "p"
    assert (settings.policy.min_size, settings.policy.max_size, settings.policy.max_lifetime) == (1, 3, None)
    assert settings.options["sslmode"] == "require"
    assert settings.origin("port") == "environment variable DB_PORT"
    assert settings.origin("min_size") == "environment variable DB_MIN_CONN"


def test_the_processes_own_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("DB_HOST", "here")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert DatabaseSettings.load(env_file=None).host == "here"


def test_every_pool_number_has_a_variable(load):
    from dbkit.core.policy import NAMES

    settings = load(environ={f"DB_{name.upper()}": "7" for name in NAMES})
    assert {getattr(settings.policy, name) for name in NAMES} == {7}


def test_empty_variables_are_unset(load):
    settings = load(environ=dict.fromkeys([*KEYS.values(), "DATABASE_URL", "DB_PASSWORD_FILE", "DB_MAX_CONN"], ""))
    assert {settings.origin(key) for key in KEYS} == {"libpq"}


def test_foreign_variables_are_let_be(load):
    foreign = {"DB_ENGINE", "DB_CREDENTIALS", "DB_BACKUP_DIR", "DB_TYPE", "DB_HOSTS", "DB_PORT_5432_TCP",
               "DB_SERVICE", "DB_SERVICE_HOST", "DB_REPLICATION", "DB_ROOT_PASSWORD", "DB_BACKUP_BUCKET",
               "DB_CONNECTION", "DB_DRIVER", "DBHOST", "DBUS_SESSION_BUS_ADDRESS"}  # fmt: skip
    assert load(environ=dict.fromkeys(foreign, "x")) == load()


def test_kubernetes_variable_of_a_service_called_db_is_no_port(load):
    assert load(environ={"DB_PORT": "tcp://10.3.240.1:5432", "DB_HOST": "db"}).port is None


@pytest.mark.parametrize("variable, meant", [
    ("DB_PASWORD", "DB_PASSWORD"), ("DB_PASSWROD", "DB_PASSWORD"), ("DB_MAXCONN", "DB_MAX_CONN"), ("DB_USR", "DB_USER"),
    ("DB_HOTS", "DB_HOST"), ("DB_PORR", "DB_PORT"), ("DB_NAAME", "DB_NAME"),
    ("DB_PASSWORD_FIEL", "DB_PASSWORD_FILE"), ("DB_CREDENTAIL", "DB_CREDENTIAL"),
])  # fmt: skip
def test_a_slip_of_the_finger(load, refused, variable, meant):
    [fault] = refused(environ={variable: "5"})
    assert (fault.key, fault.value, fault.origin) == (variable, "", f"environment variable {variable}")
    assert meant in fault.reason
    Path("password").write_text("x")
    good = {"DB_CREDENTIAL": "aws", "DB_PASSWORD_FILE": "password"}.get(meant, "5")
    load(environ={variable: "5", meant: good})  # harmless beside what was meant


def test_a_slip_about_an_address_is_harmless_beside_a_url(load):
    assert load("postgresql:///db", environ={"DB_HOTS": "x"}).host is None


# .env


def test_dotenv(load, tmp_path, monkeypatch):
    monkeypatch.delenv("DB_HOST", raising=False)
    (tmp_path / ".env").write_text(
        "export DB_HOST='h'\nDB_PORT=6000 # a comment\nDB_NAME=\nDB_BARE\nDB_PASSWORD='a#b'\n"
    )
    settings = load()
    assert (settings.host, settings.port, settings.database, plain(settings)) == ("h", 6000, None, "a#b")
    assert settings.origin("port") == "the file .env, DB_PORT"
    import os

    assert "DB_HOST" not in os.environ
    assert load(env_file=None).host is None


def test_dotenv_elsewhere(load, tmp_path):
    path = tmp_path / "prod.env"
    path.write_bytes(b"\xef\xbb\xbfDATABASE_URL=postgresql://u:p@h/d\r\nDB_MAX_CONN=4\r\n")
    settings = load(env_file=path)
    assert (settings.target, settings.policy.max_size) == ("u@h/d", 4)
    assert settings.origin("host") == f"the file {path}, DATABASE_URL"


def test_a_folder_called_dotenv_is_no_settings_file(load, tmp_path):
    (tmp_path / ".env").mkdir()
    assert load().host is None


def test_the_example_file_is_good(load, pytestconfig):
    settings = load(env_file=pytestconfig.rootpath / ".env.example")
    assert settings.target == "user@localhost:5432/test_db"
    uncommented = "".join(
        line.removeprefix("# ")
        for line in (pytestconfig.rootpath / ".env.example").read_text().splitlines(keepends=True)
        if line.startswith("# DB_") and "FILE" not in line
    )
    Path("more.env").write_text(uncommented)
    assert load(env_file="more.env").policy == load().policy


def test_dotenv_that_cannot_be_read(refused, tmp_path):
    (tmp_path / "bad.env").write_bytes(b"DB_PASSWORD=\xff")
    for path, reason in (("missing.env", "No such file"), (tmp_path, "directory"), ("bad.env", "not UTF-8")):
        [fault] = refused(env_file=path)
        assert (fault.key, fault.value) == ("env_file", str(path))
        assert reason in fault.reason


# Password files


@pytest.mark.parametrize(
    "text, password", [("s3\n", "s3"), ("s3\r\n", "s3"), ("s3", "s3"), (" s3 \n\n", " s3 \n"), ("s\r", "s\r")]
)
def test_password_file(load, tmp_path, text, password):
    path = tmp_path / "password"
    path.write_bytes(text.encode())
    settings = load(environ={"DB_PASSWORD_FILE": str(path)})
    assert plain(settings) == password
    assert settings.origin("password") == "environment variable DB_PASSWORD_FILE"
    assert load({"password_file": path}) == settings


def test_password_file_and_password(load, refused, tmp_path):
    (tmp_path / "password").write_text("s3")
    both = {"DB_PASSWORD": "x", "DB_PASSWORD_FILE": "password"}
    [fault] = refused(environ=both)
    assert (fault.key, fault.value) == ("password", "")
    assert "DB_PASSWORD" in fault.reason and "DB_PASSWORD_FILE" in fault.origin
    assert plain(load(environ=both, password="mine")) == "mine"
    (tmp_path / ".env").write_text("DB_PASSWORD=x")
    assert plain(load(environ={"DB_PASSWORD_FILE": "password"})) == "s3"


def test_password_file_that_will_not_do(load, refused, tmp_path):
    (tmp_path / "empty").write_text("\n")
    for path, reason in (
        ("/no/such", "No such file"),
        (f"{tmp_path}/empty", "is empty"),
        (str(tmp_path), "directory"),
        ("/a\0b", "NUL"),
    ):
        [fault] = refused(environ={"DB_PASSWORD_FILE": path})
        assert (fault.key, fault.value) == ("password_file", path)
        assert reason in fault.reason
    assert plain(load(environ={"DB_PASSWORD_FILE": "/no/such"}, password="p")) == "p"  # not read, so not missed


def test_password_file_that_is_no_path(refused):
    [fault] = refused({"password_file": 5})
    assert (fault.key, fault.value, fault.origin) == ("password_file", "", "mapping")


def test_a_password_put_where_its_path_belongs_is_not_shown(refused):
    [fault] = refused(environ={"DB_PASSWORD_FILE": "hunter2/x"})
    assert "hunter2" not in str(fault)


# INI


def test_ini(tmp_path):
    path = tmp_path / "app.ini"
    path.write_text(
        "[DEFAULT]\nhere=/etc\nsslmode=require\n[postgresql]\nhost = h\nport = 6000\nuser = u\n"
        "password = 50%%off%(x)s;#\ndbname = d\nmax_size = 4\n[other]\nx=y\n"
    )
    settings = DatabaseSettings.from_ini(path, environ={})
    assert (settings.target, plain(settings), settings.policy.max_size) == ("u@h:6000/d", "50%%off%(x)s;#", 4)
    assert settings.options["sslmode"] == "require"
    assert settings.origin("port") == f"{path}, [postgresql] port"
    assert settings.origin("username") == f"{path}, [postgresql] user"
    over = DatabaseSettings.from_ini(path, environ={"DB_HOST": "g", "DB_PASSWORD": "q"}, port=1)
    assert (over.target, plain(over)) == ("u@g:1/d", "q")
    whole = DatabaseSettings.from_ini(path, environ={"DATABASE_URL": "postgresql:///x"})
    assert (whole.target, plain(whole), whole.policy.max_size) == ("/x", None, 4)


def test_ini_with_windows_habits(tmp_path):
    (tmp_path / "app.ini").write_bytes(b"\xef\xbb\xbf[postgresql]\r\nhost=h\r\npassword=\r\n")
    settings = DatabaseSettings.from_ini("app.ini", environ={})
    assert (settings.host, settings.password) == ("h", None)


def test_ini_that_will_not_do(tmp_path, monkeypatch):
    from dbkit.errors import SettingsError

    path = tmp_path / "app.ini"
    cases = {
        None: ("path", "No such file"),
        "[a]\n[b]\nx=1": ("section", "it has [a], [b]"),
        "host=hunter2\n": ("path", "MissingSectionHeaderError (line 1)"),
        "[postgresql]\nhunter2\n": ("path", "ParsingError (line 2)"),
        "[postgresql]\npassword=hunter2\npassword=hunter2\n": ("path", "DuplicateOptionError (line 3)"),
        "[postgresql]\npasword=hunter2\n": ("pasword", "did you mean password?"),
        "[postgresql]\nport=abc\n": ("port", "1 to 65535"),
    }
    for text, (key, reason) in cases.items():
        if text is not None:
            path.write_text(text)
        with pytest.raises(SettingsError) as caught:
            DatabaseSettings.from_ini(path, environ={})
        [fault] = caught.value.faults
        assert fault.key == key
        assert reason in fault.reason
        assert "hunter2" not in str(caught.value)


class TestTheVariableOfTheUrl:
    ENVIRON = {"DATABASE_URL": "postgresql://a/one", "SHOP_URL": "postgresql://b/two", "DB_NAME": "three"}

    def test_it_may_be_another(self):
        environ = self.ENVIRON | {"DB_NAME": ""}
        settings = DatabaseSettings.load(environ=environ, env_file=None, url_variable="SHOP_URL")
        assert (settings.host, settings.database) == ("b", "two")
        assert settings.origin("host") == "environment variable SHOP_URL"

    def test_it_may_be_none(self, tmp_path):
        file = tmp_path / "variables"
        file.write_text("DATABASE_URL=postgresql://c/four\nDB_HOST=d\n")
        settings = DatabaseSettings.load(environ=self.ENVIRON, env_file=file, url_variable=None)
        assert (settings.host, settings.database) == ("d", "three")

    def test_a_contradiction_names_it(self):
        with pytest.raises(SettingsError, match="variable SHOP_URL says otherwise"):
            DatabaseSettings.load(environ=self.ENVIRON, env_file=None, url_variable="SHOP_URL")

    def test_of_an_ini_file_too(self, tmp_path):
        file = tmp_path / "app.ini"
        file.write_text("[postgresql]\nhost=e\n")
        settings = DatabaseSettings.from_ini(file, environ=self.ENVIRON, env_file=None, url_variable=None)
        assert (settings.host, settings.database) == ("e", "three")
