"""The pool under frameworks that know nothing of it, by URL and by ``poolclass``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Integer, MetaData, create_engine, inspect, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlmodel import Field, Session, SQLModel, select

from dbkit import ElasticPool

from ..pool.helpers import sqlalchemy_url
from .test_url_plugin import plugged

BY_URL = "by URL"
BY_OPTIONS = "by SQLALCHEMY_ENGINE_OPTIONS"


def flask_settings(url: str, way: str) -> dict[str, Any]:
    """What a Flask application's configuration says."""
    if way == BY_URL:
        return {"SQLALCHEMY_DATABASE_URI": plugged(url, max_size=3)}
    options = {"poolclass": ElasticPool, "max_size": 3}
    return {"SQLALCHEMY_DATABASE_URI": sqlalchemy_url(url), "SQLALCHEMY_ENGINE_OPTIONS": options}


@pytest.mark.parametrize("way", [BY_URL, BY_OPTIONS])
def test_flask_sqlalchemy(database: str, way: str) -> None:
    db = SQLAlchemy()
    app = Flask(__name__)
    app.config.update(flask_settings(database, way))
    db.init_app(app)

    class Author(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(Integer, primary_key=True)
        name: Mapped[str]

    @app.get("/authors")
    def authors() -> list[str]:
        return [author.name for author in db.session.scalars(db.select(Author))]

    with app.app_context():
        db.create_all()
        db.session.add(Author(name="Ada"))
        db.session.commit()
        pool = db.engine.pool
    assert app.test_client().get("/authors").json == ["Ada"]
    assert isinstance(pool, ElasticPool)
    assert pool.policy.max_size == 3
    assert pool.stats().in_use == 0, "a request gives its connection back"
    assert pool.stats().borrows >= 2
    with app.app_context():
        db.engine.dispose()


def test_sqlmodel(database: str) -> None:
    class Hero(SQLModel, table=True, metadata=MetaData()):  # type: ignore[call-arg]
        id: int | None = Field(default=None, primary_key=True)
        name: str

    engine = create_engine(plugged(database, max_size=3))
    try:
        Hero.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Hero(name="Ada"))
            session.commit()
        with Session(engine) as session:
            assert session.exec(select(Hero)).one().name == "Ada"
        assert isinstance(engine.pool, ElasticPool)
        assert engine.pool.stats().in_use == 0
    finally:
        engine.dispose()


def test_pandas(database: str) -> None:
    engine = create_engine(plugged(database, max_size=3))
    try:
        frame = pandas.DataFrame({"id": [1, 2], "name": ["Ada", "Grace"]})
        frame.to_sql("people", engine, index=False)
        read = pandas.read_sql("SELECT id, name FROM people ORDER BY id", engine)
        assert read.to_dict("list") == {"id": [1, 2], "name": ["Ada", "Grace"]}
        assert isinstance(engine.pool, ElasticPool)
        assert engine.pool.stats().in_use == 0
    finally:
        engine.dispose()


def test_alembics_stock_env(database: str, tmp_path: Path) -> None:
    """Its env.py says ``poolclass=NullPool``: a migration by itself needs one connection."""
    ini = tmp_path / "alembic.ini"
    command.init(Config(str(ini)), str(tmp_path / "scripts"))
    config = Config(str(ini))
    config.set_main_option("sqlalchemy.url", plugged(database, max_size=3).replace("%", "%%"))
    script = command.revision(config, "people", rev_id="0001")
    path = Path(script.path)  # type: ignore[union-attr]
    path.write_text(path.read_text().replace("pass", "op.execute('CREATE TABLE people (id integer)')", 1))
    command.upgrade(config, "head")
    engine = create_engine(plugged(database))
    try:
        assert inspect(engine).has_table("people")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0001"
    finally:
        engine.dispose()
