"""``dbkit top``: samples become a picture (``state.py``), a picture becomes a screen (``view.py``, ``sections.py``).

These three are pure. ``activity.py`` and ``dbkit.live`` ask; ``sampler.py`` has the only
thread, ``terminal.py`` the only terminal.
"""
