"""Work for several threads."""

from threading import Barrier, get_ident

import pytest

from isoq.parallel import ordered, shared


def test_results_come_in_order():
    assert list(ordered(lambda n: n * n, range(20), 3)) == [n * n for n in range(20)]


def test_idle_threads_share_the_work_of_the_others():
    together = Barrier(3, timeout=30)

    def outer(items):
        return list(shared(lambda n: (together.wait() >= 0, -n), items))

    assert list(ordered(outer, [range(6)], 3)) == [[(True, -n) for n in range(6)]]


def test_threads_that_are_needed_elsewhere_are_not_shared():
    busy = Barrier(2, timeout=30)

    def outer(items):
        busy.wait()
        threads = set(shared(lambda _: get_ident(), items))
        busy.wait()
        return threads == {get_ident()}

    assert list(ordered(outer, [range(9), range(9)], 2)) == [True, True]


def test_work_outside_of_a_pool_stays_in_its_thread():
    assert set(shared(lambda _: get_ident(), range(9))) == {get_ident()}


def test_failures_of_shared_work_arrive_and_give_the_threads_back():
    def outer(items):
        with pytest.raises(ZeroDivisionError):
            list(shared(lambda n: 1 // n, items))
        return len(set(shared(lambda _: together.wait(), range(3))))

    together = Barrier(3, timeout=30)
    assert list(ordered(outer, [range(3)], 3)) == [3]
