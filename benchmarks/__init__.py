"""ElasticPool measured beside the other pools, in one run on one real server. ``python -m benchmarks --help``.

- ``rows/``: one file for each piece of work that is compared; ``rows/__init__.py`` lists them.
- ``contenders.py``: the pools, all behind one small interface.
- ``crowd.py``: many threads on few connections, what several rows are made of.
- ``measure.py``: rows, cases, runs, rounds: what is measured when. ``figures.py``: medians, spreads, Jain's index.
- ``results.py``: the file of results, which can be completed row by row; targets and verdicts.
- ``report.py``: figures in words, tables. ``publish.py`` makes the README's part (``summary.py``),
  ``docs/benchmarks.md`` (``full_report.py``) and the charts (``charts.py``) from the committed results.

Every run makes new pools and new connections. Every case of a row runs once in every round of it, each round in another
order, so whatever else the machine does meets all of them alike. A figure is the median over the runs, with the lowest
and the highest; a ratio is taken within each run.
"""
