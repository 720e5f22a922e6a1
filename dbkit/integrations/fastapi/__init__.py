"""FastAPI: the manager's life, sessions that commit before the response is sent, and what an operator asks.

::

    db = DatabaseConnectionManager()
    app = FastAPI(lifespan=lifespan(db))
    app.include_router(health_router())                  # /livez and /readyz
    app.include_router(pool_router(token=os.environ["POOL_TOKEN"]))  # /pool, a page

    @app.post("/movies")
    def add(movie: NewMovie, session: SessionDep) -> None:
        session.add(Movie(title=movie.title))

From the extra ``fastapi``. ``metrics_router(PoolCollector(db))`` needs the extra ``prometheus``, too, and is in
``dbkit.integrations.fastapi.metrics``.
"""

from dbkit.integrations.fastapi.dependencies import SessionDep, database, session_dependency
from dbkit.integrations.fastapi.health import health_router
from dbkit.integrations.fastapi.life import lifespan
from dbkit.integrations.fastapi.pool_page import pool_router

__all__ = ["SessionDep", "database", "health_router", "lifespan", "pool_router", "session_dependency"]
