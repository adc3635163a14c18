"""A conversation that is kept in a file, so that it can be gone on with another time."""

import os
from pathlib import Path
from tempfile import mkstemp

from ....protocol.failures import Misuse, failed
from ....protocol.history import History


class KeptHistory:
    """What was said, in a `file` that only its owner may read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = Path(os.path.realpath(file))  # a link stays one

    def read(self) -> History:
        """What was said so far: nothing, if there is no such file. Raises Misuse for a file of anything else."""
        try:
            return History.from_json(self._file.read_bytes())
        except FileNotFoundError:
            return History([])
        except OSError as error:
            raise Misuse(failed("load_failed", f"{self._file} can't be read: {error.strerror}")) from None
        except ValueError as error:
            said = f"{self._file} holds no conversation that can be gone on with: {error}"
            raise Misuse(failed("load_failed", said)) from None

    def keep(self, history: History) -> None:
        """Write all of it, or, where that can't be done, nothing. Raises Misuse then."""
        try:
            handle, new = mkstemp(prefix=f".{self._place.name[:100]}.", dir=self._place.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(history.to_json())
                Path(new).replace(self._place)
            except BaseException:
                Path(new).unlink()
                raise
        except OSError as error:
            said = f"the conversation can't be kept in {self._file}: {error.strerror}"
            raise Misuse(failed("storage_failed", said)) from None
