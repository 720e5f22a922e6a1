"""The shop's tables. ``migrations/versions`` builds what is declared here; ``alembic check`` compares the two."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dbkit.models import Conventions, CreatedAt


class Base(Conventions, DeclarativeBase):
    """Every table of the shop."""

    type_annotation_map: ClassVar = {float: Double}


class Movie(Base):
    """A movie and the copies of it that are for sale. Money of the box office is whole dollars, prices are cents."""

    __tablename__ = "movies"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    import_key: Mapped[str | None] = mapped_column(unique=True)
    """Names the record a movie was loaded from, so that loading it again adds nothing. None if added by hand."""
    title: Mapped[str]
    release_date: Mapped[date | None]
    director: Mapped[str | None]
    distributor: Mapped[str | None]
    genre: Mapped[str | None]
    creative_type: Mapped[str | None]
    source: Mapped[str | None]
    mpaa_rating: Mapped[str | None]
    running_time_minutes: Mapped[int | None]
    production_budget: Mapped[int | None] = mapped_column(BigInteger)
    us_gross: Mapped[int | None] = mapped_column(BigInteger)
    worldwide_gross: Mapped[int | None] = mapped_column(BigInteger)
    us_dvd_sales: Mapped[int | None] = mapped_column(BigInteger)
    rotten_tomatoes_rating: Mapped[int | None] = mapped_column(SmallInteger)
    imdb_rating: Mapped[float | None]
    imdb_votes: Mapped[int | None]
    price_cents: Mapped[int] = mapped_column(server_default=text("999"))
    stock: Mapped[int] = mapped_column(server_default=text("100"))

    __table_args__ = (
        CheckConstraint("title <> '' AND char_length(title) <= 500", name="title_length"),
        CheckConstraint("running_time_minutes > 0", name="running_time_positive"),
        CheckConstraint("production_budget >= 0", name="production_budget_not_negative"),
        CheckConstraint("us_gross >= 0", name="us_gross_not_negative"),
        CheckConstraint("worldwide_gross >= 0", name="worldwide_gross_not_negative"),
        CheckConstraint("us_dvd_sales >= 0", name="us_dvd_sales_not_negative"),
        CheckConstraint("rotten_tomatoes_rating BETWEEN 0 AND 100", name="rotten_tomatoes_rating_percent"),
        CheckConstraint("imdb_rating BETWEEN 0 AND 10", name="imdb_rating_of_ten"),
        CheckConstraint("imdb_votes >= 0", name="imdb_votes_not_negative"),
        CheckConstraint("price_cents >= 0", name="price_not_negative"),
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        Index("ix_movies_title_words", text("to_tsvector('simple'::regconfig, title)"), postgresql_using="gin"),
        Index("ix_movies_genre_worldwide_gross", "genre", "worldwide_gross"),
        Index("ix_movies_worldwide_gross", "worldwide_gross"),
    )


class User(CreatedAt, Base):
    """A customer, known by his or her email address."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]

    orders: Mapped[list[Order]] = relationship(back_populates="user", order_by="Order.id")

    __table_args__ = (CheckConstraint("email LIKE '%@%'", name="email_has_at"),)


class Order(Base):
    """What a customer bought at one moment."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    placed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    total_cents: Mapped[int] = mapped_column(BigInteger)

    user: Mapped[User] = relationship(back_populates="orders")
    items: Mapped[list[OrderItem]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="OrderItem.movie_id"
    )

    __table_args__ = (
        CheckConstraint("total_cents >= 0", name="total_not_negative"),
        Index("ix_orders_user_id_placed_at", "user_id", "placed_at"),
    )


class OrderItem(Base):
    """So many copies of one movie in one order, at the price of that moment."""

    __tablename__ = "order_items"

    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id, ondelete="CASCADE"), primary_key=True)
    movie_id: Mapped[int] = mapped_column(ForeignKey(Movie.id), primary_key=True, index=True)
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="items")
    movie: Mapped[Movie] = relationship()

    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price_cents >= 0", name="unit_price_not_negative"),
    )
