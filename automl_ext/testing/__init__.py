"""Contract suites, public: run them on your own spaces, searchers and targets.

    check_space(space)                        the four views agree, repair and narrow hold
    check_searcher(Climber)                   pure asks, repeatable, resumable, survives failures, beats random
    check_target("my_module:mine/Valley-v0")  Gymnasium's checks, finite metrics, the same job twice
    simulate(searcher, score, trials)         a search in memory, in the loop's own order of asks and tells

A check raises an AssertionError of one line that says which rule broke.
"""

from automl_ext.testing.searchers import check_searcher
from automl_ext.testing.simulate import simulate
from automl_ext.testing.spaces import check_space
from automl_ext.testing.targets import check_target

__all__ = ["check_searcher", "check_space", "check_target", "simulate"]
