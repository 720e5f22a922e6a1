"""Work on borrowed connections: one statement (``query``), or a session or a connection for a block (``scopes``)."""
