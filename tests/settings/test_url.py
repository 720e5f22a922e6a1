"""Every form of URL in use, and those that are refused."""

from __future__ import annotations

from urllib.parse import quote

import psycopg2.extensions
import pytest
import sqlalchemy
from hypothesis import given as drawn
from hypothesis import settings as examples
from hypothesis import strategies as st

from dbkit.errors import may_be_shown
from dbkit.settings import DatabaseSettings, Secret
from dbkit.settings import url as url_module

IDENTITY = ("host", "port", "username", "password", "database")


def said(settings: DatabaseSettings) -> dict[str, object]:
    """What was set, besides defaults; the password in plain."""
    values = {key: getattr(settings, key) for key in IDENTITY}
    values |= {key: value for key, value in settings.options.items() if settings.origin(key) != "default"}
    return {key: v.reveal() if isinstance(v, Secret) else v for key, v in values.items() if v is not None}


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "POSTGRESQL", "postgresql+psycopg"]
)
def test_schemes(load, scheme):
    settings = load(f"{scheme}://user:pass@localhost:5433/test_db?sslmode=require")
    assert said(settings) == {
        "host": "localhost",
        "port": 5433,
        "username": "user",
        "password": "pass",
        "database": "test_db",
        "sslmode": "require",
    }
    assert {settings.origin(key) for key in said(settings)} == {"URL"}


FORMS = {
    "postgresql://": {},
    "postgresql:///": {},
    "postgresql://localhost": {"host": "localhost"},
    "postgresql://:5433": {"port": 5433},
    "postgresql://user@": {"username": "user"},
    "postgresql://user:@h/": {"username": "user", "host": "h"},
    "postgresql:///db": {"database": "db"},
    "postgresql://h?sslmode=": {"host": "h"},
    "  postgresql://h/db\n": {"host": "h", "database": "db"},
    "postgresql://u:p@h1:5433,h2:5434/db": {
        "username": "u", "password": "p", "host": "h1,h2", "port": "5433,5434", "database": "db",
    },
    "postgresql://h1,h2/db": {"host": "h1,h2", "database": "db"},
    "postgresql://h1:6000,h2/db": {"host": "h1,h2", "port": "6000,5432", "database": "db"},
    "postgresql://h1,h2:6000/db": {"host": "h1,h2", "port": "5432,6000", "database": "db"},
    "postgresql://[::1]:5433/db": {"host": "::1", "port": 5433, "database": "db"},
    "postgresql://[::1],[fe80::1]:6000/db": {"host": "::1,fe80::1", "port": "5432,6000", "database": "db"},
    "postgresql:///db?host=/var/run/postgresql": {"host": "/var/run/postgresql", "database": "db"},
    "postgresql://%2Fvar%2Frun:5433/db": {"host": "/var/run", "port": 5433, "database": "db"},
    "postgresql://u@/db?host=h1:5433&host=h2:5434": {
        "username": "u", "host": "h1,h2", "port": "5433,5434", "database": "db",
    },
    "postgresql:///db?host=h1,h2&port=5433,5434": {"host": "h1,h2", "port": "5433,5434", "database": "db"},
    "postgresql:///db?host=h1&host=h2&port=5433": {"host": "h1,h2", "port": 5433, "database": "db"},
    "postgresql:///?host=[::1]:5433": {"host": "::1", "port": 5433},
    "postgresql:///?host=::1": {"host": "::1"},
    "postgresql:///?user=u&password=p%26q&dbname=d": {"username": "u", "password": "p&q", "database": "d"},
    "postgresql://u:a+b%2B%25@h/d%20b": {"username": "u", "password": "a+b+%", "host": "h", "database": "d b"},
    "postgresql://u:p@ss@h/db": {"username": "u", "password": "p@ss", "host": "h", "database": "db"},
    "postgresql://u:p#s:s@h/db": {"username": "u", "password": "p#s:s", "host": "h", "database": "db"},
    "postgresql://u:100%@h/db": {"username": "u", "password": "100%", "host": "h", "database": "db"},
    "postgresql://h/db?user=app@server": {"host": "h", "database": "db", "username": "app@server"},
    "postgresql://h/db?options=-c+search_path%3Da,b": {"host": "h", "database": "db", "options": "-c search_path=a,b"},
    "postgresql://h/db?ssl=true": {"host": "h", "database": "db", "sslmode": "require"},
    "postgresql://h/db?host=h": {"host": "h", "database": "db"},
}  # fmt: skip


@pytest.mark.parametrize("url", FORMS)
def test_forms(load, url):
    assert said(load(url)) == FORMS[url]


LIBPQ_AGREES = [
    url for url, values in FORMS.items()
    if "password" not in values and url.strip() == url and not any(odd in url for odd in ("+", "host=h", "host=["))
]  # fmt: skip


@pytest.mark.parametrize("url", LIBPQ_AGREES)
def test_libpq_reads_its_own_forms_the_same(load, url):
    """Checked by libpq itself; SQLAlchemy's forms, and what libpq takes for granted, are left out above."""
    theirs = {key: value for key, value in psycopg2.extensions.parse_dsn(url).items() if value}
    ours = load(url)
    params = {key: str(value) for key, value in ours.connect_params().items() if ours.origin(_ours(key)) != "default"}
    assert _port_of_each(params) == _port_of_each(theirs)
    assert params == theirs


def _port_of_each(params):
    """libpq writes a list of empty ports where no host names one; take them out, one for each host."""
    hosts = params.get("host", "").split(",")
    ports = [port or "5432" for port in params.pop("port", "").split(",")]
    return ports * len(hosts) if len(ports) == 1 else ports


def _ours(key):
    return {"dbname": "database", "user": "username"}.get(key, key)


def test_pool_numbers_in_a_url(load):
    settings = load("postgresql://h/db?min_size=1&max_size=3&max_idle=none&timeout=2.5")
    policy = settings.policy
    assert (policy.min_size, policy.max_size, policy.max_idle, policy.timeout) == (1, 3, None, 2.5)


# whatever the machine's load, these are about what comes out
given = lambda *strategies: lambda test: examples(deadline=None)(drawn(*strategies)(test))  # noqa: E731

# a name that looks like a URL is refused, wherever it came from: see test_misplaced_secrets.py
hostile = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: "://" not in text and may_be_shown(text)
)


@given(hostile, hostile, hostile, hostile)
def test_whatever_is_percent_encoded_comes_back(username, password, database, name):
    url = f"postgresql://{quote(username, safe='')}:{quote(password, safe='')}@h:5433/{quote(database, safe='')}"
    url += f"?application_name={quote(name, safe='')}"
    settings = DatabaseSettings.load(url, environ={}, env_file=None)
    expected = {"host": "h", "port": 5433, "username": username, "password": password, "database": database}
    assert said(settings) == expected | {"application_name": name}


@given(hostile, hostile, hostile, hostile)
def test_sqlalchemys_url_object(username, password, database, name):
    url = sqlalchemy.URL.create("postgresql", username, password, "h", 5433, database, {"application_name": name})
    settings = DatabaseSettings.load(url, environ={}, env_file=None)
    expected = {"host": "h", "port": 5433, "username": username, "password": password, "database": database}
    assert said(settings) == expected | {"application_name": name}


@given(hostile, hostile, hostile)
def test_sqlalchemys_url_as_text(username, password, name):
    """The database is a tame one, for SQLAlchemy 2.0 writes it as it is."""
    url = sqlalchemy.URL.create("postgresql", username, password, "h", 5433, "db", {"application_name": name})
    text = url.render_as_string(hide_password=False)
    of_text, of_object = (DatabaseSettings.load(form, environ={}, env_file=None) for form in (text, url))
    assert of_text == of_object


def test_sqlalchemys_several_hosts(load):
    url = sqlalchemy.make_url("postgresql+psycopg2://u@/db?host=h1:5433&host=h2:5434")
    assert said(load(url)) == {"username": "u", "database": "db", "host": "h1,h2", "port": "5433,5434"}


def test_a_socket_folder_as_sqlalchemys_host(load):
    assert load(sqlalchemy.URL.create("postgresql", host="/run/pg")).host == "/run/pg"


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text):
    """Whatever comes is read or refused, never another exception."""
    for url in (text, "postgresql://" + text, "postgresql://u:p@" + text):
        try:
            DatabaseSettings.load(url, environ={}, env_file=None)
        except ValueError as error:
            assert type(error).__name__ == "SettingsError"


REFUSED = {
    "mysql://u:p@h/db": ("url", "not a PostgreSQL URL", "mysql://u:***@h/db"),
    "postgresql+psycopg3://u:p@h/db": (
        "url",
        "dbkit has psycopg2, psycopg and asyncpg",
        "postgresql+psycopg3://u:***@h/db",
    ),
    "postgresql+psycopg2://h/db?driver=psycopg": ("driver", "says otherwise", "'psycopg'"),
    "postgresql://h/db?driver=pg8000": ("driver", "psycopg2, psycopg", "'pg8000'"),
    "postgresql+aiopg://u:p@h/db?ssl=x": ("url", "driver aiopg", "postgresql+aiopg://u:***@h/db?***"),
    "mysql://user:271828": ("url", "not a PostgreSQL URL", "mysql://user:***"),
    "mysql://u:p@h1:1,[::1]:2": ("url", "not a PostgreSQL URL", "mysql://u:***@h1:1,[::1]:2"),
    "mysql://u@h:1:2": ("url", "not a PostgreSQL URL", "mysql://***"),
    "jdbc:postgresql://h/db": ("url", "is not a URL", ""),
    "host=localhost dbname=x password=p": ("url", "is not a URL", ""),
    "": ("url", "is not a URL", ""),
    "postgresql://h1,,h2/db": ("host", "hole", "'h1,,h2'"),
    "postgresql://h1:1,:2/db": ("host", "hole", "'h1,'"),
    "postgresql://u@h:abc/db": ("port", "1 to 65535", "'abc'"),
    "postgresql://u@h:70000/db": ("port", "1 to 65535", "'70000'"),
    "postgresql://user:hunter2": ("port", "not shown", ""),
    "postgresql://user:123456": ("port", "not shown", ""),
    "postgresql://u:p/q@h/db": ("url", "cannot be read for certain", "postgresql://***"),
    "postgresql://u:1?q@h/db": ("url", "cannot be read for certain", "postgresql://***"),
    "postgresql://u:a@b/q@h/db": ("url", "cannot be read for certain", "postgresql://***"),
    "postgresql://::1/db": ("host", "brackets", ""),
    "postgresql://u:%FF@h/db": ("password", "not UTF-8", ""),
    "postgresql://u:%00@h/db": ("password", "NUL", ""),
    "postgresql://h/%00": ("database", "NUL", "'\\x00'"),
    "postgresql://h/db?sslmod=require": ("sslmod", "did you mean sslmode?", ""),
    "postgresql://h/db?sslmode=on": ("sslmode", "must be one of disable", "'on'"),
    "postgresql://h/db?sslmode": ("url", "name=value", ""),
    "postgresql://h/db?host=g": ("host", "says otherwise", "'g'"),
    "postgresql://u@h/db?user=v": ("username", "says otherwise", "'v'"),
    "postgresql:///db?host=h1,h2&port=1,2,3": ("port", "3 ports for 2 hosts", "'1,2,3'"),
}


@pytest.mark.parametrize("url", REFUSED)
def test_refused(refused, url):
    key, reason, shown = REFUSED[url]
    [fault] = refused(url)
    assert fault.key == key
    assert reason in fault.reason
    assert fault.value == shown
    assert fault.origin == "URL"


def test_what_is_taken_apart_shows_no_secret():
    """Wrapped as soon as it is read; an unknown option too, since it may be a misspelt password."""
    parts = url_module.parse(Secret("postgresql://u:s3cret@h/d?sslpassword=s3cret&pasword=s3cret"))
    assert len(parts.pairs) == 6
    assert "s3cret" not in repr(parts)
