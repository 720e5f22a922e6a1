"""Rows for the tests, made by factory-boy in the test's own session and flushed, never committed."""

from __future__ import annotations

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy.orm import Session

from examples.movies.models import Movie, Order, OrderItem, User


class Current:
    """Whichever session the running test has."""

    session: Session | None = None


current = Current()


class _Stored(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session_factory = lambda: current.session  # noqa: E731 - factory-boy wants a callable here
        sqlalchemy_session_persistence = "flush"


class MovieFactory(_Stored):
    class Meta:
        model = Movie

    title = factory.Sequence(lambda n: f"Movie {n}")
    genre = "Drama"
    worldwide_gross = 1_000_000
    price_cents = 1_000
    stock = 10


class UserFactory(_Stored):
    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"user{n}@example.org")
    name = "Ada"


class OrderItemFactory(_Stored):
    class Meta:
        model = OrderItem

    movie = factory.SubFactory(MovieFactory)
    quantity = 1
    unit_price_cents = 1_000


class OrderFactory(_Stored):
    class Meta:
        model = Order

    user = factory.SubFactory(UserFactory)
    total_cents = 1_000
    items = factory.LazyFunction(lambda: [OrderItemFactory.build(movie=MovieFactory())])
