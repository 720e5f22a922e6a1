"""Variables that dbkit does not read, though somebody may think that it does."""

from __future__ import annotations

import logging

import pytest


@pytest.mark.parametrize("variable, meant", [
    ("DB_PASS", "DB_PASSWORD"), ("DB_PASSWD", "DB_PASSWORD"), ("DB_PWD", "DB_PASSWORD"), ("DB_HOSTNAME", "DB_HOST"),
    ("DB_URL", "DATABASE_URL"), ("DB_URI", "DATABASE_URL"), ("DB_DSN", "DATABASE_URL"),
    ("DATABASE_URI", "DATABASE_URL"), ("DATABSE_URL", "DATABASE_URL"),
])  # fmt: skip
def test_another_librarys_name_for_who_connects_where_is_refused(load, refused, tmp_path, variable, meant):
    [fault] = refused(environ={variable: "x"})
    assert (fault.key, fault.value, fault.origin) == (variable, "", f"environment variable {variable}")
    assert meant in fault.reason
    (tmp_path / ".env").write_text(f"{variable}=x")
    [fault] = refused()
    assert (fault.key, fault.origin) == (variable, f"the file .env, {variable}")
    load(environ={"DB_HOST": "h", "DB_PASSWORD": "p"})  # harmless beside what was meant


@pytest.mark.parametrize("source", ["postgresql:///d", {"service": "shop"}])
def test_it_is_no_fault_where_the_program_names_the_server(load, source):
    [remark] = load(source, environ={"DB_PASS": "x", "DB_URL": "x", "DB_HOSTNAME": "x"}).remarks
    assert remark == "environment variable DB_PASS is not read; did you mean DB_PASSWORD?"
    assert load("postgresql://u:p@h", environ={"DB_PASS": "x"}).remarks == ()


@pytest.mark.parametrize("variable, meant", [
    ("DB_POOL_SIZE", "DB_MAX_SIZE"), ("DB_MAX_OVERFLOW", "DB_MAX_SIZE"), ("DB_MAX_CONNECTIONS", "DB_MAX_SIZE"),
    ("DB_POOL_TIMEOUT", "DB_TIMEOUT"), ("DB_POOL_RECYCLE", "DB_MAX_LIFETIME"), ("DB_HOSTS", "DB_HOST"),
    ("DBHOST", "DB_HOST"), ("DB_CREDENTIALS", "DB_CREDENTIAL"),
])  # fmt: skip
def test_what_may_be_another_programs_is_remarked_on(load, caplog, variable, meant):
    with caplog.at_level(logging.WARNING, "dbkit.settings"):
        settings = load(environ={variable: "canary"})
    remark = f"environment variable {variable} is not read; did you mean {meant}?"
    assert settings.remarks == (remark,)
    assert settings.describe().splitlines()[-1] == remark
    assert [record.getMessage() for record in caplog.records] == [remark]
    assert settings == load()


def test_nothing_is_said_of_it_where_its_setting_is_given(load):
    assert load(environ={"DB_POOL_SIZE": "5", "DB_MAX_CONN": "4"}).remarks == ()
    assert load(environ={"DB_POOL_SIZE": "5"}, max_size=4).remarks == ()
    assert load(environ={"DB_URL": "x", "DB_HOST": "h"}).remarks == ()


@pytest.mark.parametrize("variable", [
    "DB_BACKUP_BUCKET", "DB_ENGINE", "DB_TYPE", "DB_PORT_5432_TCP_ADDR", "DB_ROOT_PASSWORD", "DB_CONNECTION",
    "DBUS_SESSION_BUS_ADDRESS", "URL", "POOL_SIZE", "DB_SERVICE",
])  # fmt: skip
def test_nothing_is_said_of_another_programs_variable(load, variable):
    assert load(environ={variable: "x"}).remarks == ()


def test_nothing_is_said_of_an_empty_one(load):
    assert load(environ={"DB_PASS": "", "DB_POOL_SIZE": ""}).remarks == ()


def test_a_url_under_another_name_is_let_be_where_none_is_read(load):
    assert load(environ={"DB_URL": "x"}, url_variable=None).remarks == ()
    assert load(environ={"DB_URL": "postgresql://h"}, url_variable="DB_URL").host == "h"
