"""``dbkit bench``: points are measured (``measure.py``), and pure functions make advice and plots of them."""
