"""The pool's decisions, pure: no lock, no clock, no thread, no I/O, no SQLAlchemy."""
