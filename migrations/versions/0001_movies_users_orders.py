"""Movies, users and their orders.

Revision ID: 0001_movies_users_orders
Revises: nothing, this is the first
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_movies_users_orders"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "movies",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("import_key", sa.Text()),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("release_date", sa.Date()),
        sa.Column("director", sa.Text()),
        sa.Column("distributor", sa.Text()),
        sa.Column("genre", sa.Text()),
        sa.Column("creative_type", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("mpaa_rating", sa.Text()),
        sa.Column("running_time_minutes", sa.Integer()),
        sa.Column("production_budget", sa.BigInteger()),
        sa.Column("us_gross", sa.BigInteger()),
        sa.Column("worldwide_gross", sa.BigInteger()),
        sa.Column("us_dvd_sales", sa.BigInteger()),
        sa.Column("rotten_tomatoes_rating", sa.SmallInteger()),
        sa.Column("imdb_rating", sa.Double()),
        sa.Column("imdb_votes", sa.Integer()),
        sa.Column("price_cents", sa.Integer(), server_default=sa.text("999"), nullable=False),
        sa.Column("stock", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_movies")),
        sa.UniqueConstraint("import_key", name=op.f("uq_movies_import_key")),
        _check("movies", "title_length", "title <> '' AND char_length(title) <= 500"),
        _check("movies", "running_time_positive", "running_time_minutes > 0"),
        _check("movies", "production_budget_not_negative", "production_budget >= 0"),
        _check("movies", "us_gross_not_negative", "us_gross >= 0"),
        _check("movies", "worldwide_gross_not_negative", "worldwide_gross >= 0"),
        _check("movies", "us_dvd_sales_not_negative", "us_dvd_sales >= 0"),
        _check("movies", "rotten_tomatoes_rating_percent", "rotten_tomatoes_rating BETWEEN 0 AND 100"),
        _check("movies", "imdb_rating_of_ten", "imdb_rating BETWEEN 0 AND 10"),
        _check("movies", "imdb_votes_not_negative", "imdb_votes >= 0"),
        _check("movies", "price_not_negative", "price_cents >= 0"),
        _check("movies", "stock_not_negative", "stock >= 0"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        _check("users", "email_has_at", "email LIKE '%@%'"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("total_cents", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_orders_user_id_users")),
        _check("orders", "total_not_negative", "total_cents >= 0"),
    )
    op.create_index("ix_orders_user_id_placed_at", "orders", ["user_id", "placed_at"])
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("movie_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "movie_id", name=op.f("pk_order_items")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_order_items_order_id_orders"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["movie_id"], ["movies.id"], name=op.f("fk_order_items_movie_id_movies")),
        _check("order_items", "quantity_positive", "quantity > 0"),
        _check("order_items", "unit_price_not_negative", "unit_price_cents >= 0"),
    )
    op.create_index(op.f("ix_order_items_movie_id"), "order_items", ["movie_id"])


def downgrade() -> None:
    op.drop_table("order_items")
    op.drop_table("orders")
    op.drop_table("users")
    op.drop_table("movies")


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))
