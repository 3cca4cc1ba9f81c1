"""Whatever a checked object raises becomes an AssertionError of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rule(where: str) -> Iterator[None]:
    """Inside, an exception of the checked object breaks the rule `where`; assertions pass as they are."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}") from error
