"""dbkit in other frameworks: each file is a whole small program, and is run by the tests."""
