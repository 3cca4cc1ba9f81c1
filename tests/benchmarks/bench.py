"""One door to the benchmarks of a task that has several: without a part, or with options alone, the first of them.

    python tests/benchmarks/bench.py pruning
        [shares | sieve | evaluation | latency | latency-table | importance | weights] [options]
    python tests/benchmarks/bench.py augmentation [policies | speed | sieve] [options]

`--help` behind a part shows its options.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

PARTS: Mapping[str, Mapping[str, str]] = {
    "pruning": {
        "shares": "pruning", "sieve": "sieve", "evaluation": "evaluation", "latency": "pruning_latency",
        "latency-table": "pruning_latency_table", "importance": "pruning_importance", "weights": "pruning_weights",
    },
    "augmentation": {
        "policies": "augmentation", "speed": "augmentation_speed", "sieve": "augmentation_sieve",
    },
}  # fmt: skip
"""Task -> part -> module beside this one, which has a function `main`."""


def main() -> None:
    task, *rest = sys.argv[1:] or [""]
    if task not in PARTS:
        raise SystemExit(f"a task is needed, one of {', '.join(PARTS)}, not {task!r}")
    parts = PARTS[task]
    if rest in ([], ["--help"]):
        print(__doc__)
        for part, module in parts.items():
            print(f"{part}: {(import_module(module).__doc__ or '').splitlines()[0]}")
        return
    part = rest.pop(0) if rest[0] in parts else next(iter(parts))
    sys.argv = [f"{task} {part}", *rest]
    import_module(parts[part]).main()


if __name__ == "__main__":
    main()
