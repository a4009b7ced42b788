import signal
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils._ending import SIGNALS, EndedError, put_off


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request):
    """A signal whose handler notes that it came, as what was in force before."""
    came = []
    before = signal.signal(request.param, lambda *_: came.append("before"))
    yield request.param
    signal.signal(request.param, before)


def handler():
    return [signal.getsignal(each) for each in SIGNALS]


def test_it_interrupts_where_it_may_and_what_puts_back_is_done(number):
    before, done = handler(), []

    def work(ending):
        try:
            with ending.raised():
                signal.raise_signal(number)
                done.append("what was interrupted")
        finally:
            # A second one, and one of the other kind, interrupt nothing any more.
            for each in SIGNALS:
                signal.raise_signal(each)
            done.append("put back")

    with put_off() as ending, pytest.raises(EndedError, match=f"told to end, by {number.name}"):
        work(ending)
    assert done == ["put back"]
    assert handler() == before


def test_one_that_came_before_is_heard_at_the_beginning(number):
    done = []
    with put_off() as ending:
        signal.raise_signal(number)
        with pytest.raises(EndedError), ending.raised():
            done.append("begun")
    assert done == []
    assert ending.came == [number]


def test_one_that_comes_after_all_is_done_interrupts_nothing(number):
    with put_off() as ending:
        with ending.raised():
            pass
        signal.raise_signal(number)
    assert ending.came == [number]


def test_what_was_so_is_so_again_after_an_error(number):
    before = handler()
    with pytest.raises(OSError, match="broken"), put_off():
        raise OSError("broken")
    assert handler() == before


def test_what_is_ignored_stays_so(number):
    signal.signal(number, signal.SIG_IGN)
    with put_off() as ending, ending.raised():
        signal.raise_signal(number)
    assert ending.came == []
    assert signal.getsignal(number) is signal.SIG_IGN


def test_another_thread_than_the_main_one_goes_on_without():
    before, done = handler(), []

    def work():
        with put_off() as ending, ending.raised():
            done.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert done == ["done"]
    assert handler() == before
