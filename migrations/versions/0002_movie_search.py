"""Find movies by the words of their titles and by what they earned.

Revision ID: 0002_movie_search
Revises: 0001_movies_users_orders
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_movie_search"
down_revision = "0001_movies_users_orders"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_movies_title_words",
        "movies",
        [sa.text("to_tsvector('simple'::regconfig, title)")],
        postgresql_using="gin",
    )
    op.create_index("ix_movies_worldwide_gross", "movies", ["worldwide_gross"])
    op.create_index("ix_movies_genre_worldwide_gross", "movies", ["genre", "worldwide_gross"])


def downgrade() -> None:
    op.drop_index("ix_movies_genre_worldwide_gross", table_name="movies")
    op.drop_index("ix_movies_worldwide_gross", table_name="movies")
    op.drop_index("ix_movies_title_words", table_name="movies")
