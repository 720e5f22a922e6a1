"""``dbkit bench``."""
