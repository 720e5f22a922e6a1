"""Conventions, timestamps and the repository, on a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import CheckConstraint, DateTime, ForeignKey, MetaData, String, Text, exc
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbkit import DatabaseConnectionManager
from dbkit.models import Conventions, CreatedAt, Repository, UpdatedAt


class Base(Conventions, DeclarativeBase):
    pass


class Town(CreatedAt, UpdatedAt, Base):
    __tablename__ = "towns"
    __table_args__ = (CheckConstraint("people >= 0", name="people_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    people: Mapped[int]
    nickname: Mapped[str | None]
    founded: Mapped[datetime | None]


class Street(Base):
    __tablename__ = "streets"

    town_id: Mapped[int] = mapped_column(ForeignKey(Town.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(scope="module")
def manager(server) -> Iterator[DatabaseConnectionManager]:
    url = server.create_database("models")
    with DatabaseConnectionManager(url, min_size=0) as db:
        Base.metadata.create_all(db.engine)
        yield db
    server.drop_database("models")


@pytest.fixture
def db(manager):
    manager.execute_query("TRUNCATE streets, towns RESTART IDENTITY")
    return manager


@pytest.fixture
def towns(db) -> Repository[Town]:
    return Repository(db, Town)


def test_constraints_have_names_and_columns_the_types_of_postgresql():
    assert {one.name for one in Town.__table__.constraints} == {
        "pk_towns", "uq_towns_name", "ck_towns_people_not_negative",
    }  # fmt: skip
    assert next(iter(Street.__table__.foreign_key_constraints)).name == "fk_streets_town_id_towns"
    columns = Town.__table__.c
    assert isinstance(columns.name.type, Text)
    assert all(columns[name].type.timezone for name in ("founded", "created_at", "updated_at"))


def test_a_base_may_say_otherwise_and_shares_nothing_with_another():
    class Other(Conventions, DeclarativeBase):
        metadata = MetaData(schema="elsewhere")
        type_annotation_map = {str: String(9)}

    class Third(Conventions, DeclarativeBase):
        pass

    assert Other.metadata.schema == "elsewhere"
    assert Other.registry.type_annotation_map[str].length == 9
    assert isinstance(Other.registry.type_annotation_map[datetime], DateTime)
    assert Third.metadata is not Base.metadata


def test_an_object_is_added_found_and_removed(towns):
    added = towns.add(Town(name="Ulm", people=126_000))
    assert (added.id, added.created_at == added.updated_at) == (1, True)
    found = towns.get(1)
    assert (found.name, found.created_at) == ("Ulm", added.created_at)
    assert towns.get(2) is None
    assert towns.remove(1)
    assert not towns.remove(1)
    assert towns.get(1) is None


def test_an_update_is_noted(db, towns):
    towns.add(Town(name="Ulm", people=1))
    with db.session_scope() as session:
        session.get(Town, 1).people = 2
    found = towns.get(1)
    assert found.updated_at > found.created_at


def test_what_the_table_refuses_leaves_nothing(towns):
    with pytest.raises(exc.IntegrityError, match="ck_towns_people_not_negative"):
        towns.add(Town(name="Nowhere", people=-1))
    assert towns.count() == 0


def test_count_and_exists(towns):
    for number in range(5):
        towns.add(Town(name=f"T{number}", people=number))
    assert (towns.count(), towns.count(Town.people > 2, Town.name != "T4")) == (5, 1)
    assert towns.exists(Town.name == "T0")
    assert not towns.exists(Town.name == "T0", Town.people == 1)


def all_pages(repository, **how) -> list[list[str]]:
    pages, after = [], None
    while True:
        page = repository.list(limit=2, after=after, **how)
        pages.append([town.name for town in page.items])
        after = page.next
        if after is None:
            return pages


def test_pages_follow_each_other_without_a_gap(db, towns):
    for name, people in (("A", 3), ("B", 1), ("C", 3), ("D", 2), ("E", 3)):
        towns.add(Town(name=name, people=people))
    assert all_pages(towns) == [["A", "B"], ["C", "D"], ["E"]]
    assert all_pages(towns, order_by=[Town.people]) == [["B", "D"], ["A", "C"], ["E"]]
    assert all_pages(towns, order_by=[Town.people], descending=True) == [["E", "C"], ["A", "D"], ["B"]]
    assert [town.name for town in towns.list(Town.people == 3).items] == ["A", "C", "E"]
    first = towns.list(limit=2)
    towns.remove(1)
    towns.add(Town(name="F", people=9))
    assert [town.name for town in towns.list(after=first.next).items] == ["C", "D", "E", "F"]


def test_a_key_of_several_columns(db, towns):
    town = towns.add(Town(name="Ulm", people=1))
    streets = Repository(db, Street)
    for number in (2, 1, 3):
        streets.add(Street(town_id=town.id, number=number))
    page = streets.list(limit=2)
    assert ([street.number for street in page.items], page.next) == ([1, 2], (town.id, 2))
    assert streets.get((town.id, 3)).number == 3
    with pytest.raises(exc.IntegrityError):
        towns.remove(town.id)


def test_a_bad_page_is_refused_before_anything_is_asked(towns):
    with pytest.raises(ValueError, match=r"Town\.nickname may be NULL"):
        towns.list(order_by=[Town.nickname])
    with pytest.raises(ValueError, match="limit=0"):
        towns.list(limit=0)
    with pytest.raises(ValueError, match="after has 2 values, and the order 1 columns"):
        towns.list(after=(1, 2))


def test_import_dbkit_does_not_load_the_orm():
    code = "import sys, dbkit; assert 'sqlalchemy.orm' not in sys.modules; assert 'dbkit.models' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250)
