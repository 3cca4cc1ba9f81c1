"""A hash over all that an object holds, to see whether a call changed it."""

from __future__ import annotations

import hashlib
import random
import sys
import types
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from automl_ext.searcher import Target
from automl_ext.space import Space

_SCALARS = (str, bytes, int, float, complex, bool, type(None))


def fingerprint(value: Any) -> str:
    """A hash over attributes, containers, arrays, tensors, random states, closures and running generators.

    Not looked into: the target and its space, classes, and iterators of C code (their `repr` counts). Comparable within
    one process only.
    """
    digest = hashlib.blake2b(digest_size=16)
    seen: dict[int, tuple[int, Any]] = {}
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, _SCALARS):
            digest.update(f"{type(item).__name__}{item!r};".encode())
            continue
        if id(item) in seen:
            digest.update(f"@{seen[id(item)][0]};".encode())
            continue
        seen[id(item)] = (len(seen), item)
        own, parts = _opened(item)
        digest.update(f"{type(item).__qualname__}:{len(parts)}:".encode() + own)
        left += reversed(parts)
    return digest.hexdigest()


def global_state() -> str:
    """A hash over the global random generators of Python, NumPy and (once imported) torch."""
    states = [random.getstate(), np.random.get_state()]  # noqa: NPY002
    if "torch" in sys.modules:
        states.append(sys.modules["torch"].get_rng_state())
    return fingerprint(states)


def _opened(item: Any) -> tuple[bytes, list[Any]]:
    """What an object is by itself, and the objects that it holds."""
    if isinstance(item, Target | Space | type | types.ModuleType):
        return b"", []
    if isinstance(item, np.ndarray | np.generic):
        return _array(np.asarray(item))
    if _is_torch(item, "Tensor"):
        flat = item.detach().cpu().reshape(-1)
        return f"{item.dtype}{tuple(item.shape)}".encode(), [flat.view(sys.modules["torch"].uint8).numpy().tobytes()]
    if _is_torch(item, "Generator"):
        return b"", [item.get_state()]
    if isinstance(item, np.random.Generator):
        return b"", [item.bit_generator.state]
    if isinstance(item, np.random.RandomState):
        return b"", [item.get_state()]
    if isinstance(item, random.Random):
        return b"", [item.getstate()]
    return _opened_object(item)


def _opened_object(item: Any) -> tuple[bytes, list[Any]]:
    if isinstance(item, Mapping):
        return b"", [part for pair in item.items() for part in pair] + _attributes(item)
    if isinstance(item, set | frozenset):
        return b"", sorted(fingerprint(part) for part in item)
    if isinstance(item, Sequence):
        return b"", [*item, *_attributes(item)]
    if isinstance(item, types.GeneratorType):
        frame = item.gi_frame
        return b"", [] if frame is None else [frame.f_lasti, dict(frame.f_locals)]
    if isinstance(item, types.MethodType):
        return b"", [item.__self__, item.__func__]
    if isinstance(item, types.FunctionType):
        cells = [cell.cell_contents for cell in item.__closure__ or ()]
        return item.__qualname__.encode(), [*cells, *(item.__defaults__ or ()), vars(item)]
    if isinstance(item, partial):
        return b"", [item.func, item.args, item.keywords]
    attributes = _attributes(item)
    return (b"" if attributes else repr(item).encode()), attributes


def _attributes(item: Any) -> list[Any]:
    """Names and values of instance attributes, slots included."""
    slots = [name for kind in type(item).__mro__ for name in _names(kind) if hasattr(item, name)]
    found = {**{name: getattr(item, name) for name in slots}, **getattr(item, "__dict__", {})}
    return [part for pair in found.items() for part in pair]


def _names(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    names = [names] if isinstance(names, str) else list(names)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _array(array: Any) -> tuple[bytes, list[Any]]:
    facts = f"{array.dtype}{array.shape}".encode()
    return facts, [array.tolist()] if array.dtype.hasobject else [array.tobytes()]


def _is_torch(item: Any, name: str) -> bool:
    return "torch" in sys.modules and isinstance(item, getattr(sys.modules["torch"], name))
