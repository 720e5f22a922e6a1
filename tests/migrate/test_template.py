"""``python -m dbkit.migrate init``: a folder that works from the command line and from a program, as it is written."""

from __future__ import annotations

from alembic import command
from alembic.config import Config

from dbkit.migrate import current
from dbkit.migrate.__main__ import TEMPLATE, main

from .conftest import write_revision
from .test_command_line import alembic


def test_a_new_project_migrates_from_the_command_line_and_from_a_program(db, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    code, _, err = alembic("revision", "-m", "first", "--rev-id", "one", url=database, cwd=tmp_path)
    assert code == 0, err
    code, _, err = alembic("upgrade", "head", url=database, cwd=tmp_path)
    assert (code, err.count("Running upgrade")) == (0, 1), err
    assert current(db.engine) == ("one",)
    write_revision(tmp_path / "migrations", "two", "one", "op.execute('CREATE TABLE made (x int)')")
    db.migrate()
    assert alembic("current", url=database, cwd=tmp_path)[1].strip() == "two (head)"


def test_alembic_init_takes_the_same_template(db, tmp_path):
    ini = tmp_path / "alembic.ini"
    command.init(Config(ini), str(tmp_path / "db"), template=str(TEMPLATE))
    write_revision(tmp_path / "db", "one", None, "op.execute('CREATE TABLE made (x int)')")
    db.migrate(config=ini)
    assert current(db.engine, config=ini) == ("one",)


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text("mine")
    assert main(["init"]) == 1
    assert "migrations already exists and is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["migrations", "env.py"]
    (tmp_path / "alembic.ini").write_text("mine")
    assert main(["init", "another"]) == 1
    assert f"{tmp_path}/alembic.ini exists already" in capsys.readouterr().err
    assert not (tmp_path / "another").exists()


def test_help_has_examples(capsys):
    try:
        main(["--help"])
    except SystemExit as end:
        assert end.code == 0
    assert "python -m dbkit.migrate init db/revisions" in capsys.readouterr().out
