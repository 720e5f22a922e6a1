"""A small shop for movies: one pool under ORM sessions, plain SQL and migrations.

``python -m examples.movies`` shows it at work; ``--help`` tells what can be changed. To be read in this order:
``models``, ``repositories``, ``loading``, ``workload``, ``command``.
"""
