"""``dbkit`` on the command line: ``check`` (a doctor), ``top`` (a live view), ``bench`` (how large a pool should be).

``launch.py`` is the way in, and the only file here that may be imported without the extra ``cli``. Each command is a
package of its own in which facts are gathered in one place, judged or rendered by pure functions, and shown in another.
"""
