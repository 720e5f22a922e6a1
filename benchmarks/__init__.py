"""ElasticPool measured beside the other pools, in one run on one real server. ``python -m benchmarks --help``.

- ``rows/``: one file for each piece of work that is compared; ``rows/__init__.py`` lists them.
- ``contenders.py``: the pools, all behind one small interface.
- ``crowd.py``: many threads on few connections, what several rows are made of.
- ``measure.py``: rows, cases, rounds: what is measured when. ``figures.py``: medians, quartiles, Jain's index.
- ``report.py``: targets, verdicts, tables, JSON. ``charts.py``: the pictures.

Every case of a row runs once in every round, each round in another order, so whatever else the machine does meets all
of them alike. What is compared is compared within a round; a ratio is the median over the rounds, with its quartiles.
"""
