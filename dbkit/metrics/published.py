"""Numbers of several processes in one folder, where any of them reads those of all.

Each process has one file, named after its number, which is replaced as a whole: a reader sees the old one or the new
one. A file whose process has ended is removed by whoever meets it. The thread that publishes is a daemon, holds only a
weak reference, and is started again in a forked child.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dbkit.core.policy import check_seconds
from dbkit.metrics.names import METRICS
from dbkit.metrics.readings import Reading, Times
from dbkit.pool.errors import PoolSettingsError
from dbkit.runtime import forks

logger = logging.getLogger("dbkit.metrics")

_BY_NAME = {metric.name: metric for metric in METRICS}
_PREFIX, _SUFFIX = "dbkit_", ".json"


class Published:
    """What this process publishes, and what others do.

    Args:
        folder: where; it must exist.
        read: gives the readings to publish.
        every: seconds between two publications.

    Raises:
        SettingsError: ``every`` is no number of seconds above 0.
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike[str], read: Callable[[], Iterable[Reading]], *, every: float) -> None:
        faults = check_seconds("every", every)
        if faults:
            raise PoolSettingsError(faults)
        self._folder = Path(folder)
        self._read = read
        self._every = every
        self._failed = False
        self.publish()
        self._start()
        forks.start_afresh(self, Published._start)

    def _start(self) -> None:
        self._closed = threading.Event()
        threading.Thread(
            target=_go_on, args=(weakref.ref(self), self._closed, self._every), name="dbkit-metrics", daemon=True
        ).start()

    @property
    def _file(self) -> Path:
        return self._folder / f"{_PREFIX}{os.getpid()}{_SUFFIX}"

    def publish(self) -> None:
        """Write the numbers of this moment.

        Raises:
            OSError: it cannot be done.
        """
        text = json.dumps([_to_json(reading) for reading in self._read()])
        beside = self._file.with_suffix(f".{threading.get_ident()}.tmp")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(self._file)
        finally:
            beside.unlink(missing_ok=True)

    def publish_or_warn(self) -> None:
        """``publish``, from the background: a failure is said once, until it works again."""
        try:
            self.publish()
        except OSError as error:
            if not self._failed:
                logger.warning("the pools' metrics cannot be published in %s: %s", self._folder, error)
            self._failed = True
        else:
            self._failed = False

    def of_the_others(self) -> Iterator[tuple[str, list[Reading]]]:
        """The number of each other living process, and what it last published."""
        for path in sorted(self._folder.glob(f"{_PREFIX}*{_SUFFIX}")):
            number = path.name[len(_PREFIX) : -len(_SUFFIX)]
            if path == self._file or not number.isdigit():
                continue
            if not _is_alive(int(number)):
                path.unlink(missing_ok=True)
                continue
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:  # it ended at this moment
                continue
            yield number, [_from_json(entry) for entry in found]

    def close(self) -> None:
        """Publish no more."""
        self._closed.set()
        self._file.unlink(missing_ok=True)


def _go_on(published: weakref.ref[Published], closed: threading.Event, every: float) -> None:
    while not closed.wait(every):
        found = published()
        if found is None:
            return
        found.publish_or_warn()
        del found


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _to_json(reading: Reading) -> dict[str, Any]:
    value = reading.value.to_dict() if isinstance(reading.value, Times) else reading.value
    return {"metric": reading.metric.name, "attributes": dict(reading.attributes), "value": value}


def _from_json(entry: dict[str, Any]) -> Reading:
    value = entry["value"]
    if isinstance(value, dict):
        value = Times(tuple(value["counts"]), value["total"], value["least"], value["most"])
    return Reading(_BY_NAME[entry["metric"]], entry["attributes"], value)
