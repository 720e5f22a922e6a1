"""``dbkit check``: what is known of the way to a server (``facts.py``), and what each of the judges makes of it."""
