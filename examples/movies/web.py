"""The shop as a FastAPI application: three repositories, one pool, sessions that commit before the response is sent.

``python -m examples.movies.serve`` serves it. Its routes are blocking functions, which FastAPI runs on threads: what
waits for a connection stands in the pool's line.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from sqlalchemy.exc import IntegrityError

from dbkit import DatabaseConnectionManager
from dbkit.integrations.fastapi import SessionDep, database, health_router, lifespan, pool_router
from examples.movies.models import Movie, User
from examples.movies.repositories import MoviesRepository, OrdersRepository, OutOfStockError, UsersRepository

Limit = Annotated[int, Query(ge=1, le=100)]
Manager = Annotated[DatabaseConnectionManager, Depends(database)]


def movies(db: Manager) -> MoviesRepository:
    """The repository of movies, on the application's manager."""
    return MoviesRepository(db)


def users(db: Manager) -> UsersRepository:
    """The repository of customers."""
    return UsersRepository(db)


def orders(db: Manager) -> OrdersRepository:
    """The repository of orders."""
    return OrdersRepository(db)


Movies = Annotated[MoviesRepository, Depends(movies)]
Users = Annotated[UsersRepository, Depends(users)]
Orders = Annotated[OrdersRepository, Depends(orders)]


class Shown(BaseModel):
    """What is read off a row or an object."""

    model_config = ConfigDict(from_attributes=True)


class MovieOut(Shown):
    """A movie in a list."""

    id: int
    title: str
    release_date: date | None
    worldwide_gross: int | None


class NewUser(BaseModel):
    """A customer to be."""

    email: str = Field(pattern="@", max_length=200)
    name: str = Field(min_length=1, max_length=200)


class UserOut(Shown):
    """A customer."""

    id: int
    email: str
    name: str


class CustomerOut(Shown):
    """A customer who bought something."""

    id: int
    name: str
    orders: int
    spent_cents: int


class NewOrder(BaseModel):
    """So many copies of which movie, by its id."""

    user_id: int
    quantities: dict[int, PositiveInt] = Field(min_length=1)


class OrderOut(Shown):
    """An order that was placed."""

    id: int
    total_cents: int


shop = APIRouter()


@shop.get("/movies")
def search(found: Movies, words: str, limit: Limit = 20) -> list[MovieOut]:
    """Movies whose titles hold all these words."""
    return [MovieOut.model_validate(row) for row in found.search(words, limit=limit)]


@shop.get("/movies/top")
def top(found: Movies, genre: str | None = None, limit: Limit = 10) -> list[MovieOut]:
    """The movies that earned most."""
    return [MovieOut.model_validate(movie) for movie in found.top_by_gross(genre=genre, limit=limit)]


@shop.patch("/movies/{movie_id}/price", status_code=204)
def reprice(movie_id: int, cents: Annotated[int, Query(ge=0)], session: SessionDep) -> None:
    """Change a price, in a session of the request."""
    movie = session.get(Movie, movie_id)
    if movie is None:
        raise HTTPException(404, "there is no such movie")
    movie.price_cents = cents


@shop.post("/users", status_code=201)
def register(user: NewUser, session: SessionDep) -> UserOut:
    """Add a customer."""
    added = User(email=user.email, name=user.name)
    session.add(added)
    try:
        session.flush()
    except IntegrityError as error:
        raise HTTPException(409, "there is a customer of that address already") from error
    return UserOut.model_validate(added)


@shop.get("/users/best")
def best(found: Users, limit: Limit = 10) -> list[CustomerOut]:
    """Who spent most."""
    return [CustomerOut.model_validate(row) for row in found.best_customers(limit)]


@shop.post("/orders", status_code=201)
def order(new: NewOrder, placed: Orders) -> OrderOut:
    """Sell copies to a customer: all of them, or nothing."""
    try:
        return OrderOut.model_validate(placed.place(new.user_id, new.quantities))
    except OutOfStockError as error:
        raise HTTPException(409, str(error)) from error
    except IntegrityError as error:
        raise HTTPException(404, "there is no such customer") from error


def make_app(db: DatabaseConnectionManager, *, token: str | None = None) -> FastAPI:
    """The application.

    Args:
        db: ended with the application.
        token: for the page of the pool; None: there is no such page.
    """
    app = FastAPI(title="Movies", lifespan=lifespan(db))
    app.include_router(shop)
    app.include_router(health_router(migrations="alembic.ini"))
    if token is not None:
        app.include_router(pool_router(token=token, name="movies"))
    return app
