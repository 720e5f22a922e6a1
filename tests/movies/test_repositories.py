"""The three repositories on the real server; each test's rows are made by factories and rolled back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import exc

from examples.movies.models import Movie
from examples.movies.repositories import MoviesRepository, OrdersRepository, OutOfStockError, UsersRepository

from .factories import MovieFactory, OrderFactory, UserFactory


def test_get_and_add_a_movie(db: Any) -> None:
    movies = MoviesRepository(db)
    added = movies.add(Movie(title="Alien³", genre="Horror"))
    assert (added.price_cents, added.stock) == (999, 100)
    found = movies.get(added.id)
    assert found is not None
    assert (found.title, found.genre, found.import_key) == ("Alien³", "Horror", None)
    assert movies.get(added.id + 1) is None
    assert movies.count() == 1


def test_what_the_table_refuses_is_an_integrity_error_and_leaves_nothing(db: Any) -> None:
    movies = MoviesRepository(db)
    with pytest.raises(exc.IntegrityError, match="ck_movies_us_gross_not_negative"):
        movies.add(Movie(title="M", us_gross=-1))
    assert movies.count() == 0


def test_search_finds_all_words_in_any_order_the_greatest_success_first(db: Any) -> None:
    MovieFactory(title="The Golden River", worldwide_gross=5)
    MovieFactory(title="River of the Golden Sun", worldwide_gross=9)
    MovieFactory(title="A Golden Garden", worldwide_gross=7)
    MovieFactory(title="GOLDEN river: unknown", worldwide_gross=None)
    movies = MoviesRepository(db)
    assert [row.title for row in movies.search("river golden")] == [
        "River of the Golden Sun",
        "The Golden River",
        "GOLDEN river: unknown",
    ]
    assert [row.title for row in movies.search('"golden river" -unknown')] == ["The Golden River"]
    assert len(movies.search("golden", limit=2)) == 2
    assert len(movies.search("'); DROP TABLE movies; --")) == 0


def test_search_uses_its_index(db: Any) -> None:
    db.execute_query("SET LOCAL enable_seqscan = off")
    plan = db.execute_query(
        "EXPLAIN SELECT id FROM movies WHERE to_tsvector('simple', title) @@ websearch_to_tsquery('simple', 'a')"
    )
    assert "ix_movies_title_words" in " ".join(row[0] for row in plan)


def test_top_by_gross(db: Any) -> None:
    MovieFactory(title="unknown", worldwide_gross=None)
    for gross, genre in ((3, "Drama"), (9, "Horror"), (5, "Drama"), (1, "Drama")):
        MovieFactory(title=f"earned {gross}", worldwide_gross=gross, genre=genre)
    movies = MoviesRepository(db)
    assert [movie.worldwide_gross for movie in movies.top_by_gross(limit=3)] == [9, 5, 3]
    assert [movie.worldwide_gross for movie in movies.top_by_gross(genre="Drama")] == [5, 3, 1]
    assert movies.top_by_gross(genre="Western") == []


def test_restock(db: Any) -> None:
    movie = MovieFactory(stock=1)
    movies = MoviesRepository(db)
    assert movies.restock(movie.id, 4)
    assert movies.get(movie.id).stock == 5  # type: ignore[union-attr]
    assert not movies.restock(movie.id + 1, 4)
    with pytest.raises(exc.IntegrityError, match="stock_not_negative"):
        movies.restock(movie.id, -6)


def test_sample_is_spread_and_limited(db: Any) -> None:
    made = {MovieFactory().id for _ in range(10)}
    sample = MoviesRepository(db).sample(4)
    assert len(sample) == 4
    assert {row.id for row in sample} < made


def test_register_find_and_ensure_a_user(db: Any) -> None:
    users = UsersRepository(db)
    ada = users.register("ada@example.org", "Ada")
    assert ada.created_at is not None
    found = users.find("ada@example.org")
    assert found is not None
    assert (found.id, found.name) == (ada.id, "Ada")
    assert users.find("nobody@example.org") is None
    with pytest.raises(exc.IntegrityError, match="uq_users_email"):
        users.register("ada@example.org", "Another Ada")
    assert users.ensure("ada@example.org", "Another Ada") == ada.id
    assert users.ensure("grace@example.org", "Grace") == users.find("grace@example.org").id  # type: ignore[union-attr]
    assert users.find("ada@example.org").name == "Ada"  # type: ignore[union-attr]


def test_place_an_order(db: Any) -> None:
    ada = UserFactory()
    cheap, dear = MovieFactory(price_cents=100, stock=5), MovieFactory(price_cents=2_000, stock=5)
    orders = OrdersRepository(db)
    placed = orders.place(ada.id, {dear.id: 1, cheap.id: 3})
    assert placed.total_cents == 2_300
    stored = orders.get(placed.id)
    assert stored is not None
    assert [(item.movie_id, item.quantity, item.unit_price_cents) for item in stored.items] == [
        (cheap.id, 3, 100),
        (dear.id, 1, 2_000),
    ]
    assert db.execute_query("SELECT stock FROM movies ORDER BY id").scalars() == (2, 4)


def test_an_order_that_cannot_be_filled_takes_nothing(db: Any) -> None:
    ada = UserFactory()
    plenty, few = MovieFactory(stock=50), MovieFactory(stock=2)
    orders = OrdersRepository(db)
    with pytest.raises(OutOfStockError, match=f"movie {few.id}: there are not 3 copies"):
        orders.place(ada.id, {plenty.id: 1, few.id: 3})
    with pytest.raises(exc.IntegrityError, match="fk_orders_user_id_users"):
        orders.place(ada.id + 1, {plenty.id: 1})
    for bad in ({}, {plenty.id: 0}, {plenty.id: 1, few.id: -1}):
        with pytest.raises(ValueError, match="at least"):
            orders.place(ada.id, bad)
    with pytest.raises(OutOfStockError):
        orders.place(ada.id, {few.id + 1: 1})
    assert db.execute_query("SELECT stock FROM movies ORDER BY id").scalars() == (50, 2)
    assert db.execute_query("SELECT count(*) FROM orders").scalar() == 0


def test_history_and_best_customers(db: Any) -> None:
    ada, grace = UserFactory(name="Ada"), UserFactory(name="Grace")
    alien, brazil = MovieFactory(title="Alien", price_cents=100), MovieFactory(title="Brazil", price_cents=100)
    orders = OrdersRepository(db)
    first = orders.place(ada.id, {alien.id: 1})
    second = orders.place(ada.id, {alien.id: 1, brazil.id: 2})
    orders.place(grace.id, {brazil.id: 1})
    history = orders.history(ada.id)
    assert [(row.id, row.total_cents, row.copies, row.titles) for row in history] == [
        (second.id, 300, 3, ["Alien", "Brazil"]),
        (first.id, 100, 1, ["Alien"]),
    ]
    assert [row.id for row in orders.history(ada.id, limit=1)] == [second.id]
    best = UsersRepository(db).best_customers()
    assert [(row.name, row.orders, row.spent_cents) for row in best] == [("Ada", 2, 400), ("Grace", 1, 100)]


def test_an_order_made_by_its_factory_has_its_items(db: Any) -> None:
    order = OrderFactory()
    stored = OrdersRepository(db).get(order.id)
    assert stored is not None
    assert [(item.movie_id, item.quantity) for item in stored.items] == [(order.items[0].movie.id, 1)]
    assert OrdersRepository(db).get(order.id + 1) is None


@pytest.mark.parametrize("time", [1, 2])
def test_no_test_sees_the_rows_of_another(db: Any, time: int) -> None:
    assert MoviesRepository(db).count() == 0
    MovieFactory()
    assert MoviesRepository(db).count() == 1
