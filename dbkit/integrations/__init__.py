"""Frameworks and libraries that meet dbkit. Each module needs its own extra; the rest of dbkit imports none of them."""
