from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.stream import MOST_UNACKED, RESEND_AFTER_S, RESEND_TRIES, Stream

FAR = 10_000


def counts(stream: Stream) -> tuple[int, int, int, int]:
    return stream.acked, stream.judged, stream.lost, stream.in_flight


def synced(base: int = 0) -> Stream:
    stream = Stream(base, now=0.0)
    assert stream.status(base + 1, base, shed=0, now=-RESEND_AFTER_S)
    return stream


def receive(stream: Stream, *seqs: int) -> None:
    assert [stream.receive(seq, FAR) for seq in seqs] == [None] * len(seqs)


def test_samples_are_in_flight_until_judged_and_acked_in_order() -> None:
    stream = synced()
    receive(stream, 1, 2, 3)
    assert counts(stream) == (0, 0, 0, 3)
    stream.judge(2)
    assert counts(stream) == (0, 1, 0, 2)
    stream.judge(1)
    assert counts(stream) == (2, 2, 0, 1)
    stream.judge(3)
    assert counts(stream) == (3, 3, 0, 0)


def test_a_sample_counts_once() -> None:
    stream = synced()
    receive(stream, 1)
    assert stream.receive(1, FAR) == "duplicate"
    stream.judge(1)
    stream.judge(1)
    assert stream.receive(1, FAR) == "duplicate"
    assert counts(stream) == (1, 1, 0, 0)


def test_nothing_is_taken_beyond_every_window() -> None:
    stream = synced()
    assert stream.receive(801, limit=800) == "beyond_window"
    assert counts(stream) == (0, 0, 0, 0)


def test_what_is_dropped_is_acked_and_not_judged() -> None:
    stream = synced()
    receive(stream, 1, 2, 3)
    stream.drop(2)
    stream.judge(1)
    assert (stream.acked, stream.judged, stream.dropped, stream.in_flight) == (2, 1, 1, 1)
    stream.drop(2)
    stream.judge(2)
    assert (stream.judged, stream.dropped) == (1, 1)


def test_what_was_dropped_and_comes_again_after_a_reconnect_is_judged() -> None:
    stream = synced()
    receive(stream, 1, 2, 3, 4, 5)
    for seq in (1, 2, 5):
        stream.drop(seq)
    stream.judge(3)
    stream.unsynced = True
    assert stream.status(2, 5, shed=0, now=0.0)
    assert (stream.acked, stream.judged, stream.dropped, stream.in_flight) == (1, 0, 1, 4)
    receive(stream, 2, 3, 5)
    for seq in (2, 3, 4, 5):
        stream.judge(seq)
    assert (stream.judged, stream.dropped, stream.in_flight) == (4, 1, 0)


def test_gaps_are_asked_for_and_filled() -> None:
    stream = synced()
    receive(stream, 2, 5)
    assert stream.resend(0.0) == [(1, 1), (3, 4)]
    assert stream.resend(RESEND_AFTER_S / 2) == []
    receive(stream, 1, 3, 4)
    assert stream.resend(RESEND_AFTER_S) == []
    for seq in range(1, 6):
        stream.judge(seq)
    assert counts(stream) == (5, 5, 0, 0)


def test_the_tail_is_missed_when_the_exporter_says_where_it_stands() -> None:
    stream = synced()
    receive(stream, 1)
    assert stream.status(1, 3, shed=7, now=0.0)
    assert stream.resend(0.0) == [(2, 3)]
    assert stream.shed == 7


def test_every_other_sample_of_a_window_is_asked_for_at_once() -> None:
    stream = synced()
    receive(stream, *range(2, 801, 2))
    assert stream.resend(0.0) == [(seq, seq) for seq in range(1, 800, 2)]


def test_what_never_comes_is_lost_and_acked() -> None:
    stream = synced()
    receive(stream, 3)
    asked = [stream.resend(RESEND_AFTER_S * i) for i in range(RESEND_TRIES + 1)]
    assert asked == [[(1, 2)]] * RESEND_TRIES + [[]]
    assert counts(stream) == (2, 0, 2, 1)
    assert stream.receive(1, FAR) == "duplicate"
    stream.judge(3)
    assert counts(stream) == (3, 1, 2, 0)


def test_what_comes_after_it_was_given_up_is_late() -> None:
    stream = synced()
    receive(stream, 1, 3)
    for i in range(RESEND_TRIES + 1):
        stream.resend(RESEND_AFTER_S * i)
    assert stream.receive(2, FAR) == "late"
    stream.judge(3)
    stream.judge(1)
    assert counts(stream) == (3, 2, 1, 0)


def test_what_the_exporter_no_longer_keeps_is_lost_at_once() -> None:
    stream = synced()
    receive(stream, 2)
    assert stream.status(4, 6, shed=0, now=0.0)
    assert counts(stream) == (1, 0, 2, 4)
    stream.judge(2)
    assert counts(stream) == (3, 1, 2, 3)


def test_a_stream_is_joined_where_the_exporter_stands() -> None:
    stream = Stream(base=41, now=0.0)
    receive(stream, 42)
    assert stream.resend(RESEND_AFTER_S) == []  # what is missing is not known yet
    assert stream.status(40, 42, shed=0, now=RESEND_AFTER_S)
    assert counts(stream) == (39, 0, 0, 3)
    assert stream.resend(2 * RESEND_AFTER_S) == [(40, 41)]


def test_after_a_reconnect_everything_without_an_ack_is_judged_again() -> None:
    stream = synced()
    receive(stream, 1, 2, 3, 5)
    for seq in (1, 2, 5):
        stream.judge(seq)
    stream.unsynced = True
    assert stream.status(2, 5, shed=0, now=0.0)
    assert counts(stream) == (1, 1, 0, 4)
    assert stream.receive(3, FAR) == "duplicate"  # it still waits for a model
    receive(stream, 2, 4, 5)
    for seq in range(2, 6):
        stream.judge(seq)
    assert counts(stream) == (5, 5, 0, 0)


def test_lost_samples_that_the_exporter_still_has_are_not_lost_after_a_reconnect() -> None:
    stream = synced()
    receive(stream, 1, 4)
    stream.judge(1)
    stream.judge(4)
    for i in range(RESEND_TRIES + 1):
        stream.resend(RESEND_AFTER_S * i)
    assert counts(stream) == (4, 2, 2, 0)
    stream.unsynced = True
    assert stream.status(3, 4, shed=0, now=0.0)
    assert counts(stream) == (2, 1, 1, 2)


def test_drained_ends_when_all_is_accounted_for() -> None:
    stream = synced()
    receive(stream, 1)
    assert stream.end(2)
    assert stream.resend(0.0) == [(2, 2)]
    receive(stream, 2)
    stream.judge(1)
    assert not stream.finished
    stream.judge(2)
    assert stream.finished


def test_a_closed_stream_judges_what_came() -> None:
    stream = synced()
    receive(stream, 1, 3)
    stream.close()
    assert stream.receive(2, FAR) == "of_a_closed_stream"
    assert (stream.queued, stream.lost) == (2, 1)
    stream.judge(1)
    stream.judge(3)
    assert counts(stream) == (3, 2, 1, 0)


def test_claims_that_make_no_sense_change_nothing() -> None:
    stream = synced()
    assert not stream.status(5, 2, shed=1, now=0.0)
    assert not stream.status(1, MOST_UNACKED + 1, shed=1, now=0.0)
    assert not stream.end(MOST_UNACKED + 1)
    receive(stream, 2)
    assert not stream.end(1)
    assert (counts(stream), stream.shed, stream.ends) == ((0, 0, 0, 2), 0, None)


SEQ = st.integers(1, 30)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), SEQ),
        st.tuples(st.just("judge"), SEQ),
        st.tuples(st.just("drop"), SEQ),
        st.tuples(st.just("resend"), SEQ),
        st.tuples(st.just("status"), SEQ, SEQ),
        st.tuples(st.just("reconnect"), SEQ, SEQ),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 10))
def test_every_number_is_judged_lost_or_in_flight(
    steps: list[tuple[str, int] | tuple[str, int, int]], base: int
) -> None:
    stream, now = Stream(base, 0.0), 0.0
    for name, *numbers in steps:
        now += RESEND_AFTER_S
        if name == "receive":
            stream.receive(numbers[0], FAR)
        elif name == "judge":
            stream.judge(numbers[0])
        elif name == "drop":
            stream.drop(numbers[0])
        elif name == "resend":
            stream.resend(now)
        else:
            stream.unsynced |= name == "reconnect"
            stream.status(numbers[0], numbers[1], 0, now)
        check(stream)


def check(stream: Stream) -> None:
    missing = sum(last - first + 1 for first, last in stream._missing(stream.last))
    assert stream.in_flight == stream.queued + missing
    assert min(stream.judged, stream.dropped, stream.lost, stream.in_flight) >= 0
    assert stream.base <= stream.acked <= stream.last
