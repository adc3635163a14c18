"""A conversation in a file, so that it can be gone on with another time: by one chat at a time.

A chat holds an advisory lock (flock) on the very file that it wrote last: with the process the lock is gone, however
that ended. Where there are no such locks, as on Windows, what another has written is seen, and left as it is.
"""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Self

from ....protocol.failures import Misuse, failed
from ....protocol.history import History

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

Mark = tuple[int, ...]
"""What tells a file from any that was written in its place."""


class KeptHistory:
    """What was said, in a `file` that only its owner may read: one chat's, from `read` on to the end of the block."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = Path(os.path.realpath(file))  # a link stays one
        self._mark: Mark | None = None  # of what this chat has read or written
        self._lock: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hold(None)

    def read(self) -> History:
        """What was said so far: nothing, if there is no such file.

        Raises Misuse for a file of anything else, and, `conflict`, for one that another chat has open.
        """
        try:
            return History.from_json(self._opened())
        except FileNotFoundError:
            return History([])
        except OSError as error:
            raise Misuse(failed("load_failed", f"{self._file} can't be read: {error.strerror}")) from None
        except ValueError as error:
            said = f"{self._file} holds no conversation that can be gone on with: {error}"
            raise Misuse(failed("load_failed", said)) from None

    def keep(self, history: History) -> None:
        """Write all of it, or, where that can't be done, nothing. Raises Misuse then.

        What somebody else has written there meanwhile stays.
        """
        try:
            handle, new = mkstemp(prefix=f".{self._place.name[:100]}.", dir=self._place.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", closefd=fcntl is None) as stream:
                    stream.write(history.to_json())
                if fcntl is not None:  # else it is closed by now, as a file has to be there that is moved
                    _locked(handle)
                self._put(Path(new))
            except BaseException:
                with suppress(FileNotFoundError):
                    Path(new).unlink()
                if fcntl is not None:
                    os.close(handle)
                raise
            if fcntl is not None:
                self._hold(handle)
        except FileExistsError:
            said = (
                f"{self._file} was written by somebody else meanwhile, and stays as it is: move it away, and this "
                "conversation is kept there after the next turn"
            )
            raise Misuse(failed("conflict", said)) from None
        except OSError as error:
            said = f"the conversation can't be kept in {self._file}: {error.strerror}"
            raise Misuse(failed("storage_failed", said)) from None

    def _opened(self) -> bytes:
        """What stands in the file, which no other chat writes from now on."""
        while True:
            handle = os.open(self._place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                free, mark = _locked(handle), _mark(self._place.stat())
                if not _marked(handle, mark):
                    continue  # another has become the file in this very moment
                if not free:
                    said = f"{self._file} is open in another chat: end that one, or go on with a copy of the file"
                    raise Misuse(failed("conflict", said))
                with os.fdopen(handle, "rb", closefd=False) as stream:
                    content = stream.read()
                self._mark = mark
                if fcntl is not None:
                    self._hold(handle)
                return content
            finally:
                if handle != self._lock:
                    os.close(handle)

    def _put(self, new: Path) -> None:
        """Let `new` be the file, unless somebody else has written it. Raises FileExistsError then."""
        try:
            mark: Mark | None = _mark(self._place.stat())
        except FileNotFoundError:
            mark = None
        if mark is None:
            _linked(new, self._place)
        elif mark != self._mark:
            raise FileExistsError
        else:
            new.replace(self._place)
        self._mark = _mark(self._place.stat())

    def _hold(self, handle: int | None) -> None:
        """From now on this lock is held, and no other."""
        before, self._lock = self._lock, handle
        if before is not None:
            os.close(before)


def _locked(handle: int) -> bool:
    """Lock the file, unless another has: whether none has. Where there are no locks none has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)  # else the file system knows none
    return True


def _marked(handle: int, mark: Mark) -> bool:
    """Whether that is the mark of an open file. Systems without our locks tell other marks of open files."""
    if fcntl is None:
        return True
    return _mark(os.fstat(handle)) == mark


def _linked(new: Path, place: Path) -> None:
    """Let `new` be `place`, where nothing is. Raises FileExistsError where something is."""
    try:
        place.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        new.replace(place)
    else:
        new.unlink()


def _mark(file: os.stat_result) -> Mark:
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns
