"""Rows for the tests, made by factory-boy in the test's own session and flushed, never committed."""

from __future__ import annotations

import factory

from dbkit.testing import ModelFactory
from examples.movies.models import Movie, Order, OrderItem, User


class MovieFactory(ModelFactory):
    class Meta:
        model = Movie

    title = factory.Sequence(lambda n: f"Movie {n}")
    genre = "Drama"
    worldwide_gross = 1_000_000
    price_cents = 1_000
    stock = 10


class UserFactory(ModelFactory):
    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"user{n}@example.org")
    name = "Ada"


class OrderItemFactory(ModelFactory):
    class Meta:
        model = OrderItem

    movie = factory.SubFactory(MovieFactory)
    quantity = 1
    unit_price_cents = 1_000


class OrderFactory(ModelFactory):
    class Meta:
        model = Order

    user = factory.SubFactory(UserFactory)
    total_cents = 1_000
    items = factory.LazyFunction(lambda: [OrderItemFactory.build(movie=MovieFactory())])
