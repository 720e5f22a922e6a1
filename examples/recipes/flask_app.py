"""Flask: one manager for each process, a session for each request that commits before the answer is sent.

    DATABASE_URL=postgresql://... flask --app examples.recipes.flask_app run
    DATABASE_URL=postgresql://... gunicorn -c examples/recipes/gunicorn_conf.py examples.recipes.flask_app:app

Making the manager opens no connection, so it may be made when the module is loaded, and gunicorn may load it before it
forks (``preload_app``): a forked child starts with an empty pool by itself.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from dbkit import DatabaseConnectionManager

db = DatabaseConnectionManager(min_size=1, max_size=4)
app = Flask(__name__)


@app.post("/names/<name>")
def add(name: str) -> ResponseReturnValue:
    """Write in a session: it is committed when the block ends, and an error of the commit is the request's."""
    with db.session_scope() as session:
        session.execute(text("INSERT INTO names VALUES (:name)"), {"name": name})
    return "", 201


@app.get("/names")
def names() -> ResponseReturnValue:
    """Read in one round trip."""
    found = db.execute_query("SELECT name FROM names ORDER BY name")
    return jsonify(names=[row.name for row in found], process=os.getpid())


@app.get("/livez")
def livez() -> ResponseReturnValue:
    """Never touches the database."""
    return "alive"
