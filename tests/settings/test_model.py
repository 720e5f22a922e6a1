"""The finished object: its checks, its faces, and that it gives no secret away."""

from __future__ import annotations

import copy
import pickle
import traceback

import psycopg2.extensions
import pytest
import sqlalchemy

from dbkit.core.policy import UNLIMITED
from dbkit.errors import SettingsError
from dbkit.settings import DatabaseSettings, Secret

CANARY = "c4n4ry-Pa55"


# Checks


def test_one_error_names_all_that_is_wrong(refused, tmp_path):
    (tmp_path / ".env").write_text("DB_SSLMODE=on\nDB_MIN_CONN=9")
    faults = refused(
        {"hots": "x", "host": "h1,,h2", "database": ""},
        environ={"DB_PORT": "abc", "DB_MAX_CONN": "3", "DB_USR": "p", "DB_PASSWORD_FILE": "/no/such"},
        timeout="soon",
        connect_timeout=-1,
    )
    assert {(fault.key, fault.value, fault.origin) for fault in faults} == {
        ("hots", "", "mapping"),
        ("host", "'h1,,h2'", "mapping"),
        ("database", "''", "mapping"),
        ("port", "'abc'", "environment variable DB_PORT"),
        ("password_file", "/no/such", "environment variable DB_PASSWORD_FILE"),
        ("sslmode", "'on'", "the file .env, DB_SSLMODE"),
        ("timeout", "'soon'", "argument"),
        ("connect_timeout", "-1", "argument"),
        ("DB_USR", "", "environment variable DB_USR"),
    }


def test_minimum_above_maximum_names_both_origins(refused):
    [fault] = refused(environ={"DB_MAX_CONN": "3"}, min_size=9)
    assert str(fault) == (
        "min_size=9 (argument; max_size: environment variable DB_MAX_CONN): min_size (9) is above max_size (3)"
    )


WRONG = [
    ("port", 0), ("port", 65536), ("port", "5432.0"), ("port", True), ("port", "5432,"), ("port", []), ("port", "٣"),
    ("port", 1.5), ("port", "9" * 5000),
    ("host", ""), ("host", " "), ("host", "a b"), ("host", "h:5432"), ("host", "[::1]"), ("host", "postgresql://h"),
    ("host", "h,"), ("host", 5), ("host", "a/b"), ("host", "u@h"), ("host", "h\0"), ("host", []),
    ("username", ""), ("username", 5), ("username", b"u"), ("database", "a\0b"), ("database", "\udcff"),
    ("sslmode", "Require"), ("target_session_attrs", "rw"), ("keepalives", 2), ("keepalives", "yes"),
    ("connect_timeout", "10s"), ("connect_timeout", 1.5), ("tcp_user_timeout", 2**31), ("keepalives_count", True),
    ("min_size", "1.0"), ("min_size", -1), ("max_size", 0), ("max_size", "ten"), ("min_size", "none"),
    ("timeout", "inf"), ("timeout", float("nan")), ("timeout", "none"), ("max_idle", 0), ("max_idle", "-1"),
    ("max_lifetime", True), ("timeout", "1_0"), ("options", ["-c"]),
]  # fmt: skip


@pytest.mark.parametrize("key, value", WRONG)
def test_refused_values(refused, key, value):
    [fault] = refused({key: value})
    assert (fault.key, fault.origin) == (key, "mapping")
    assert fault.value == (repr(value) if len(repr(value)) <= 80 else repr(value)[:80] + "...")


@pytest.mark.parametrize("value", [12345, b"bytes", "nul\0", Secret(""), ["x"]])
def test_refused_passwords_are_not_shown(refused, value):
    [fault] = refused({"password": value})
    assert (fault.key, fault.value) == ("password", "")


@pytest.mark.parametrize("source", [5, ["postgresql://h"], b"postgresql://h"])
def test_refused_sources(refused, source):
    [fault] = refused(source)
    assert (fault.key, fault.value) == ("source", "")
    assert type(source).__name__ in fault.reason


def test_lists_of_different_lengths(load, refused):
    [fault] = refused({"host": "a,b,c"}, environ={"DB_PORT": "1,2"})
    assert (fault.key, fault.value, fault.origin) == ("port", "'1,2'", "environment variable DB_PORT")
    assert fault.reason == "2 ports for 3 hosts; give one for all, or one for each (host: mapping)"
    assert refused(port="1,2")[0].reason.startswith("2 ports for 1 host;")
    assert refused({"host": "a,b", "hostaddr": "10.0.0.1"})[0].key == "hostaddr"
    assert load({"host": ["a", "b"], "port": [1, 2]}).target == "a:1,b:2"
    assert load({"host": "a,b", "port": "1"}).target == "a:1,b:1"


@pytest.mark.parametrize("name, hint", [
    ("hots", "did you mean host?"), ("pasword", "did you mean password?"), ("ssl_mode", "did you mean sslmode?"),
    ("url", "first argument"), ("pool_size", "did you mean max_size?"), ("pool_recycle", "max_lifetime"),
    ("zzz", "no such setting"),
])  # fmt: skip
def test_unknown_keys(refused, name, hint):
    for given in (CANARY, None):
        [fault] = refused({name: given})
        assert (fault.key, fault.value) == (name, "")
        assert hint in fault.reason
    assert refused({5: "x"})[0].key == "5"


def test_text_and_numbers_are_the_same(load):
    as_text = {
        "port": "5432",
        "min_size": "1",
        "timeout": "2.5",
        "max_idle": "NONE",
        "keepalives": "1",
        "connect_timeout": "5",
    }
    settings = load(as_text)
    assert settings == load(
        {"port": 5432, "keepalives": True, "connect_timeout": 5}, min_size=1, timeout=2.5, max_idle=None
    )
    assert settings.connect_params()["port"] == 5432


# Faces


def test_connect_params_are_what_psycopg2_takes(load):
    """Without a server: libpq itself checks the names, and gives the values back."""
    settings = load(
        {"host": "h1,h2", "port": [1, 2], "user": "o'b\\", "password": "p w", "dbname": "d", "sslpassword": "k"},
        target_session_attrs="read-write",
    )
    params = settings.connect_params()
    assert "password" not in params and "sslpassword" not in params
    assert settings.secrets() == {"password": Secret("p w"), "sslpassword": Secret("k")}
    dsn = psycopg2.extensions.make_dsn(**params, password="x")
    assert psycopg2.extensions.parse_dsn(dsn) == {key: str(value) for key, value in params.items()} | {"password": "x"}
    psycopg2.extensions.make_dsn(**load().connect_params())


def test_a_connection_is_tried_with_them(load, tmp_path):
    """psycopg2 gets as far as looking for the server's socket."""
    with pytest.raises(psycopg2.OperationalError, match=r"No such file or directory"):
        psycopg2.connect(**load(host=tmp_path).connect_params())


def test_target(load):
    assert load().target == "the server libpq is set up for"
    assert load("postgresql://u:p@[::1]:5/d").target == "u@[::1]:5/d"
    assert load(hostaddr="10.0.0.1", port=5).target == "10.0.0.1:5"
    assert load("postgresql://a,b:2/d").target == "a:5432,b:2/d"
    assert load(username="a\n\x1b[31m").target == "a??[31m@"


def test_describe(load):
    lines = load("postgresql://u:p@h/d", environ={"DB_MAX_CONN": "4"}).describe().splitlines()
    rows = [line.split(maxsplit=2) for line in lines]
    assert rows[0] == ["setting", "value", "origin"]
    assert ["password", "***", "URL"] in rows
    assert ["port", "-", "libpq"] in rows
    assert ["max_size", "4", "environment variable DB_MAX_CONN"] in rows
    assert ["min_size", "2", "default"] in rows
    assert "no limit" in load(max_size=UNLIMITED).describe() and "9223372036854775807" not in repr(
        load(max_size=UNLIMITED)
    )
    assert len({line.index(origin) for line, (_, _, origin) in zip(lines, rows, strict=True)}) == 1  # aligned


def test_repr(load):
    shown = repr(load("postgresql://u:p@h/d", environ={"PGSERVICE": "s"}))
    assert shown == (
        "DatabaseSettings(host='h' (URL), database='d' (URL), username='u' (URL), password=*** (URL), "
        "fallback_application_name='dbkit' (default))"
    )


def test_origin_of_what_there_is_none(load):
    with pytest.raises(SettingsError, match="did you mean port"):
        load().origin("prot")


def test_frozen_equal_hashable(load):
    settings = load("postgresql://u:p@h/d")
    same = load({"host": "h", "user": "u", "password": "p", "database": "d"})
    assert settings == same and hash(settings) == hash(same)
    assert settings != load("postgresql://u:q@h/d") and settings != "postgresql://u:p@h/d"
    for change in (lambda: setattr(settings, "host", "x"), lambda: delattr(settings, "_values")):
        with pytest.raises(AttributeError):
            change()
    with pytest.raises(TypeError):
        settings.options["x"] = 1
    with pytest.raises(TypeError):
        DatabaseSettings()
    assert copy.deepcopy(settings) is settings is copy.copy(settings)


def test_replace(load):
    settings = load("postgresql://u:p@h/d", environ={"DB_MAX_CONN": "4"})
    other = settings.replace(host="g", max_lifetime=None, port=None)
    assert (other.target, other.policy.max_size, other.policy.max_lifetime) == ("u@g/d", 4, None)
    assert (other.origin("host"), other.origin("username")) == ("argument", "URL")
    assert settings.host == "h"
    with pytest.raises(SettingsError, match="above max_size"):
        settings.replace(min_size=5)
    with pytest.raises(SettingsError, match="no such setting"):
        settings.replace(hots="x")


# Secrets


def test_secret():
    secret = Secret(CANARY)
    assert f"{secret} {secret!r} {secret!s:>4} {[secret]}" == "*** ***  *** [***]"
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY) != Secret("x") and secret != CANARY
    assert hash(secret) == hash(Secret(CANARY)) and copy.deepcopy([secret]) == [secret] and copy.copy(secret) is secret
    assert not hasattr(secret, "__dict__")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(secret, protocol)
    with pytest.raises(AttributeError):
        secret._text = "x"
    with pytest.raises(AttributeError):
        del secret._text


def test_pydantics_secret_is_taken(load):
    class SecretStr:
        def get_secret_value(self):
            return CANARY

    assert load(password=SecretStr()).password == Secret(CANARY)


def secret_sources(tmp_path):
    """Every way to hand over a password, each with one thing wrong beside it: (call, whether it must fail)."""
    (tmp_path / "password").write_text(CANARY)
    (tmp_path / "secret.env").write_text(f"DB_PASSWORD={CANARY}\n")
    (tmp_path / "url.env").write_text(f"DATABASE_URL=postgresql://u:{CANARY}@h/d?sslpassword={CANARY}\n")
    (tmp_path / "app.ini").write_text(f"[postgresql]\npassword={CANARY}\nsslpassword={CANARY}\n")
    (tmp_path / "broken.ini").write_text(f"[postgresql]\n{CANARY}\n")
    load, ini = DatabaseSettings.load, DatabaseSettings.from_ini
    none: dict[str, str] = {}
    yield lambda **bad: load(f"postgresql://u:{CANARY}@h/d", environ=none, **bad)
    yield lambda **bad: load(Secret(f"postgresql://u:{CANARY}@h/d"), environ=none, **bad)
    yield lambda **bad: load(f"postgresql:///d?password={CANARY}&sslpassword={CANARY}", environ=none, **bad)
    yield lambda **bad: load(sqlalchemy.make_url(f"postgresql://u:{CANARY}@h/d"), environ=none, **bad)
    yield lambda **bad: load({"password": CANARY, "sslpassword": CANARY}, environ=none, **bad)
    yield lambda **bad: load(environ=none, password=CANARY, **bad)
    yield lambda **bad: load(environ={"DB_PASSWORD": CANARY, "DB_SSLPASSWORD": CANARY}, **bad)
    yield lambda **bad: load(environ={"DATABASE_URL": f"postgres://u:{CANARY}@h/d"}, **bad)
    yield lambda **bad: load(environ={"DB_PASSWORD_FILE": "password"}, **bad)
    yield lambda **bad: load(environ=none, env_file="secret.env", **bad)
    yield lambda **bad: load(environ=none, env_file="url.env", **bad)
    yield lambda **bad: ini("app.ini", environ=none, **bad)
    yield lambda **bad: load(environ=none, env_file=None).replace(password=CANARY, **bad)
    yield lambda **bad: load(environ=none, env_file=None, credential="aws").replace(password=CANARY, **bad)
    yield lambda **bad: load(environ=none, env_file=None, defaults={"password": CANARY}, **bad)
    yield lambda **bad: ini("app.ini", environ=none, defaults={"password": CANARY}, **bad)


def refused_with_secrets(tmp_path):
    """Bad input in which the secret itself is part of what is wrong."""
    list(secret_sources(tmp_path))
    load, ini = DatabaseSettings.load, DatabaseSettings.from_ini
    none: dict[str, str] = {}
    for url in (
        f"mysql://u:{CANARY}@h/d",
        f"postgresql+aiopg://u:{CANARY}@h:5432,g/d?password={CANARY}",
        f"postgresql+aiopg://u:a@b/{CANARY}@h/d",
        f"mysql://u:{CANARY}",
        f"mysql://h/d?token={CANARY}",
        f"postgresql://u:{CANARY}",
        f"postgresql://u:1/{CANARY}@h/d",
        f"postgresql://u:1?{CANARY}@h/d",
        f"postgresql://u:1?{CANARY}=@h/d",
        f"postgresql://u:{CANARY}%FF@h/d",
        f"postgresql://u:{CANARY}%00@h/d",
        f"postgresql://u:x@h/d?password={CANARY}",
        f"postgresql://u:{CANARY}@h/d?password=x",
        f"postgresql://h/d?pasword={CANARY}",
        f"postgresql://h/d?sslpassword={CANARY}%00",
        f"postgresql://h/d?password={CANARY}%FF",
        f"postgresql://h/d?credential={CANARY}",
        f"postgresql://h/d?credential=file&password_file={CANARY}",
        f"postgresql+aiopg://h/d?credential={CANARY}&password_file={CANARY}",
        f"host=h password={CANARY}",
        CANARY,
    ):
        yield lambda url=url: load(url, environ=none)
        yield lambda url=url: load(environ={"DATABASE_URL": url})
    yield lambda: load(environ={"DB_PASSWORD_FILE": CANARY})
    yield lambda: load(environ={"DB_PASSWORD_FILE": "password", "DB_PASSWORD": CANARY})
    yield lambda: load(environ={"DB_PASWORD": CANARY})
    yield lambda: load(environ={"DATABASE_URL": f"postgresql://u:{CANARY}@h/d", "DB_PASSWORD": "other"})
    yield lambda: load({"pasword": CANARY}, environ=none)
    yield lambda: load({"password": CANARY.encode()}, environ=none)
    yield lambda: load(environ=none, password=CANARY + "\0")
    yield lambda: ini("broken.ini", environ=none)
    yield lambda: load(environ={"DB_CREDENTIAL": CANARY})
    yield lambda: load({"credential": CANARY.encode()}, environ=none)
    yield lambda: load(environ={"DB_CREDENTIAL": "azure", "DATABASE_URL": f"postgresql:///d?credential={CANARY}"})
    yield lambda: load(environ={"DB_CREDENTIAL": "file", "DB_PASSWORD_FILE": CANARY})
    yield lambda: load({"password_file": CANARY, "credential": "file"}, environ={"DB_PASSWORD": CANARY}, port="x")
    yield lambda: load(environ=none, password_file=CANARY, credential="nobody")
    yield lambda: load(environ={"DB_PORT": "x"}, defaults={"password": CANARY})
    yield lambda: load({"credential": "azure"}, environ={"DB_PASSWORD": CANARY}, port="x")


def spilled(error):
    """Where the canary shows: the error's text and attributes, and dbkit's frames' locals, as a tracker takes them."""
    shown = [
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        repr(pickle.loads(pickle.dumps(error)).faults),
    ]
    shown += [repr(cause) for cause in (error.__cause__, error.__context__)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "dbkit" in frame.f_globals["__name__"]:
            shown += [f"{frame.f_code.co_qualname}: {name}={value!r}" for name, value in frame.f_locals.items()]
    assert any("_checked" in line for line in shown)
    return [line for line in shown if CANARY in line]


def test_no_secret_shows_in_settings(tmp_path):
    for make in secret_sources(tmp_path):
        settings = make()
        assert settings.password == Secret(CANARY)
        for text in (repr(settings), str(settings), settings.describe(), settings.target, repr(settings.secrets()),
                     repr(settings.connect_params()), repr(settings.options), f"{settings}"):  # fmt: skip
            assert CANARY not in text
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(settings)


def test_no_secret_shows_in_an_error_about_something_else(tmp_path):
    for make in secret_sources(tmp_path):
        with pytest.raises(SettingsError) as caught:
            make(connect_timeout="never")
        assert spilled(caught.value) == []


def test_no_secret_shows_in_an_error_about_itself(tmp_path):
    for make in refused_with_secrets(tmp_path):
        with pytest.raises(SettingsError) as caught:
            make()
        assert spilled(caught.value) == []
