"""What the shop does, in three repositories that share one manager and so one pool.

What any table is asked for comes from ``dbkit.models.Repository``. Each method is one
piece of work: it borrows a connection, does it, and gives the connection back. Reads that are
questions about many rows are plain SQL through ``execute_query``; whatever deals with movies, users and orders as
things goes through an ORM session. Safe to use from any number of threads.

The objects are used after their session has ended, so no commit may expire them: the manager's sessions are to be made
with ``expire_on_commit=False`` (see ``open_database`` in ``command``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.orm import selectinload

from dbkit.models import Repository
from examples.movies.models import Movie, Order, OrderItem, User

if TYPE_CHECKING:
    from dbkit.session.result import QueryResult
    from dbkit.work import Work


class OutOfStockError(Exception):
    """There are not that many copies of a movie (or there is no such movie), so nothing was ordered."""

    def __init__(self, movie_id: int, quantity: int) -> None:
        self.movie_id = movie_id
        self.quantity = quantity
        super().__init__(f"movie {movie_id}: there are not {quantity} copies left")


class MoviesRepository(Repository[Movie]):
    """The movies and their copies."""

    def __init__(self, db: Work) -> None:
        super().__init__(db, Movie)
        self._db: Work = db

    def search(self, words: str, *, limit: int = 20) -> QueryResult:
        """Movies whose titles hold all these words, the greatest success first.

        Words are as in a search engine: ``"exact phrase"``, ``or``, and ``-`` before what must not occur.

        Returns:
            Rows of ``id``, ``title``, ``release_date``, ``worldwide_gross``.
        """
        return self._db.execute_query(
            """
            SELECT id, title, release_date, worldwide_gross
            FROM movies
            WHERE to_tsvector('simple', title) @@ websearch_to_tsquery('simple', :words)
            ORDER BY worldwide_gross DESC NULLS LAST, id
            LIMIT :limit
            """,
            {"words": words, "limit": limit},
        )

    def top_by_gross(self, *, genre: str | None = None, limit: int = 10) -> Sequence[Movie]:
        """The movies that earned most, of all or of one genre."""
        query = select(Movie).where(Movie.worldwide_gross.is_not(None))
        if genre is not None:
            query = query.where(Movie.genre == genre)
        with self._db.session_scope() as session:
            return session.scalars(query.order_by(Movie.worldwide_gross.desc()).limit(limit)).all()

    def sample(self, limit: int = 500) -> QueryResult:
        """Some movies, spread over the table: rows of ``id``, ``title``, ``genre``."""
        return self._db.execute_query(
            "SELECT id, title, genre FROM movies ORDER BY hashint8(id), id LIMIT :limit", {"limit": limit}
        )

    def restock(self, movie_id: int, copies: int) -> bool:
        """Put more copies of a movie on sale; False if there is no such movie."""
        result = self._db.execute_query(
            "UPDATE movies SET stock = stock + :copies WHERE id = :movie_id",
            {"copies": copies, "movie_id": movie_id},
        )
        return result.rowcount == 1


class UsersRepository(Repository[User]):
    """The customers."""

    def __init__(self, db: Work) -> None:
        super().__init__(db, User)
        self._db: Work = db

    def register(self, email: str, name: str) -> User:
        """Add a customer; the id is known afterwards.

        Raises:
            sqlalchemy.exc.IntegrityError: there is one of that address already.
        """
        return self.add(User(email=email, name=name))

    def find(self, email: str) -> User | None:
        """The customer with that address, or None."""
        with self._db.session_scope() as session:
            return session.scalars(select(User).where(User.email == email)).one_or_none()

    def ensure(self, email: str, name: str) -> int:
        """The id of the customer with that address, who is added if there is none yet."""
        user_id: int = self._db.execute_query(
            """
            INSERT INTO users (email, name) VALUES (:email, :name)
            ON CONFLICT (email) DO UPDATE SET email = excluded.email
            RETURNING id
            """,
            {"email": email, "name": name},
        ).scalar()
        return user_id

    def best_customers(self, limit: int = 10) -> QueryResult:
        """Who spent most: rows of ``id``, ``name``, ``orders``, ``spent_cents``."""
        return self._db.execute_query(
            """
            SELECT users.id, users.name, count(*) AS orders, sum(orders.total_cents) AS spent_cents
            FROM users JOIN orders ON orders.user_id = users.id
            GROUP BY users.id
            ORDER BY spent_cents DESC, users.id
            LIMIT :limit
            """,
            {"limit": limit},
        )


class OrdersRepository:
    """What customers buy."""

    def __init__(self, db: Work) -> None:
        self._db = db

    def place(self, user_id: int, quantities: Mapping[int, int]) -> Order:
        """Sell copies of movies to a customer: all of them, or nothing.

        Movies are taken in the order of their ids, so that two orders never wait for each other in a circle.

        Args:
            user_id: the customer.
            quantities: how many copies of which movie, by its id.

        Raises:
            ValueError: nothing was ordered, or less than one copy.
            OutOfStockError: one of the movies has not that many copies left.
            sqlalchemy.exc.IntegrityError: there is no such customer.
        """
        if not quantities or min(quantities.values()) < 1:
            raise ValueError("an order is of one movie at least, and of each one copy at least")
        with self._db.session_scope() as session:
            items = []
            for movie_id, quantity in sorted(quantities.items()):
                take = (
                    update(Movie)
                    .where(Movie.id == movie_id, Movie.stock >= quantity)
                    .values(stock=Movie.stock - quantity)
                    .returning(Movie.price_cents)
                    .execution_options(synchronize_session=False)
                )
                price = session.scalar(take)
                if price is None:
                    raise OutOfStockError(movie_id, quantity)
                items.append(OrderItem(movie_id=movie_id, quantity=quantity, unit_price_cents=price))
            total = sum(item.quantity * item.unit_price_cents for item in items)
            order = Order(user_id=user_id, items=items, total_cents=total)
            session.add(order)
        return order

    def get(self, order_id: int) -> Order | None:
        """An order with its items, or None."""
        with self._db.session_scope() as session:
            return session.get(Order, order_id, options=[selectinload(Order.items)])

    def history(self, user_id: int, *, limit: int = 20) -> QueryResult:
        """A customer's last orders: rows of ``id``, ``placed_at``, ``total_cents``, ``copies``, ``titles``."""
        return self._db.execute_query(
            """
            SELECT orders.id, orders.placed_at, orders.total_cents,
                   sum(order_items.quantity) AS copies, array_agg(movies.title ORDER BY movies.title) AS titles
            FROM (
                SELECT id, placed_at, total_cents FROM orders
                WHERE user_id = :user_id ORDER BY placed_at DESC, id DESC LIMIT :limit
            ) AS orders
            JOIN order_items ON order_items.order_id = orders.id
            JOIN movies ON movies.id = order_items.movie_id
            GROUP BY orders.id, orders.placed_at, orders.total_cents
            ORDER BY orders.placed_at DESC, orders.id DESC
            """,
            {"user_id": user_id, "limit": limit},
        )
