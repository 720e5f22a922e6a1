"""All that a pool asks of its surroundings: the five verbs (``base.py``), how threads fulfil them, and forks."""
