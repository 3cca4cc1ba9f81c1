"""Order: the same events whatever order evaluations finish in."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.order import Order


def events(parallel: int, trials: int, mixer: random.Random, silent: set[int] = frozenset()) -> list[tuple[str, int]]:
    """All asks and tells; `silent`: numbers whose ask is answered None once."""
    order, seen, out, quiet = Order(parallel, trials), [], [], set(silent)
    while True:
        event, number = order.next()
        if event == "ask":
            seen.append((event, number))
            if number in quiet:
                quiet.discard(number)
                order.ask(number, proposed=False)
            else:
                order.ask(number, proposed=True)
                out.append(number)
        elif event == "tell":
            seen.append((event, number))
            order.tell(number)
        elif event == "wait":
            order.finish(out.pop(mixer.randrange(len(out))))
        else:
            return seen


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 10**6), st.sets(st.integers(1, 30), max_size=4))
def test_completion_order_changes_nothing(parallel, trials, seed, silent):
    expected = events(parallel, trials, random.Random(0), silent)
    assert events(parallel, trials, random.Random(seed), silent) == expected


@given(st.integers(1, 9), st.integers(1, 30))
def test_ask_i_comes_right_after_tell_i_minus_parallel(parallel, trials):
    seen = events(parallel, trials, random.Random(1))
    place = {event: index for index, event in enumerate(seen)}
    for number in range(trials):
        before = [("tell", number - parallel)] if number >= parallel else []
        assert all(place[event] < place["ask", number] for event in before)
        later = number - parallel + 1
        if later >= 0:
            assert place["ask", number] < place["tell", later]
    assert [number for event, number in seen if event == "tell"] == list(range(trials))


def orders(parallel: int, trials: int) -> Iterator[list[tuple[str, int]]]:
    """The events of every possible order of completion."""

    def play(choices: list[int]) -> list[tuple[str, int]] | int:
        order, seen, out, left = Order(parallel, trials), [], [], list(choices)
        while True:
            event, number = order.next()
            if event == "wait":
                if not left:
                    return len(out)
                order.finish(out.pop(left.pop(0)))
                continue
            if event == "done":
                return seen
            seen.append((event, number))
            if event == "ask":
                order.ask(number, True)
                out.append(number)
            else:
                order.tell(number)

    def branch(choices: list[int]) -> Iterator[list[tuple[str, int]]]:
        found = play(choices)
        if isinstance(found, int):
            for choice in range(found):
                yield from branch([*choices, choice])
        else:
            yield found

    return branch([])


@pytest.mark.parametrize(("parallel", "trials"), [(1, 5), (2, 6), (3, 6), (4, 5)])
def test_all_orders_of_completion_give_the_same_events(parallel, trials):
    found = list(orders(parallel, trials))
    assert len(found) >= parallel and all(events == found[0] for events in found)


def test_it_continues_behind_trials_that_need_no_repeating():
    order = Order(3, 10)
    order.continue_at(4, 6)
    assert order.next() == ("ask", 6)
    order.ask(6, True)
    assert order.next() == ("wait", 3)
    order.finish(5)
    assert order.next() == ("wait", 3)
    order.finish(4)
    assert order.next() == ("tell", 4)
    with pytest.raises(ValueError, match="cannot continue at tell 4 and ask 8"):
        Order(3).continue_at(4, 8)


def test_none_with_nothing_out_ends_the_stage():
    order = Order(3)
    assert order.next() == ("ask", 0)
    order.ask(0, proposed=False)
    assert order.next() == ("done", 0)


def test_stop_lets_what_is_out_finish():
    order = Order(2, first=5)
    order.ask(5, True)
    order.stop()
    assert order.next() == ("wait", 1)
    order.finish(5)
    assert order.next() == ("tell", 5)
    order.tell(5)
    assert order.next() == ("done", 1)


def test_events_out_of_order_are_refused():
    order = Order(2)
    with pytest.raises(ValueError, match="ask 1 is out of order: 0 is next"):
        order.ask(1, True)
    order.ask(0, True)
    with pytest.raises(ValueError, match="trial 1 is not out"):
        order.finish(1)
    with pytest.raises(ValueError, match="tell 0 is out of order"):
        order.tell(0)
    with pytest.raises(ValueError, match="at least 1"):
        Order(0)
