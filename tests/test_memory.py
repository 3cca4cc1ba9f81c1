import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from automl_ext.memory import keep_memory

if sys.argv[1] == "keep":
    sys.exit(3) if not keep_memory() else None
for _ in range(3):
    [np.ones(2_000_000) for _ in range(5)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    [np.ones(2_000_000) for _ in range(5)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how, **environment):
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return int(done.stdout) if done.returncode == 0 else done.returncode == 3 and None


@pytest.mark.slow
def test_freed_blocks_are_used_again():
    kept = _faults("keep")
    if kept is None:
        pytest.skip("another allocator")
    assert kept < 1000 < _faults("leave"), "80 MB have 20,000 pages, 10 times"


@pytest.mark.slow
def test_limits_from_the_environment_count():
    assert _faults("keep", MALLOC_TRIM_THRESHOLD_="131072") is None
