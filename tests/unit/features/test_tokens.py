import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.features.spec import TokensSpec
from mtc_sensor.features.tokens import tokens, with_vocabulary

from .build import batch_of, packets

WORDS = TokensSpec(vocabulary=("cipher:1301", "ext:0", "weird"), statistics=False)


def test_words_of_the_vocabulary_are_counted() -> None:
    batch = batch_of([[], [], []]).with_documents(
        ["ext:0 cipher:1301 ext:0 ext:01 xext:0", "", "  weird weir weirdo "]
    )
    assert tokens(batch, WORDS).tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


@given(st.lists(st.lists(st.sampled_from(["ext:0", "weird", "cipher:1301", "ext:00", "w"]))))
def test_counts_are_those_of_python(documents: list[list[str]]) -> None:
    batch = batch_of([[]] * len(documents)).with_documents([" ".join(d) for d in documents])
    expected = [[d.count(word) for word in WORDS.vocabulary] for d in documents]
    assert tokens(batch, WORDS).tolist() == expected


def test_statistics() -> None:
    flow = packets([0, 1, 3], [300, 600, 600])
    batch = batch_of([flow, []], proto=[17, 58]).with_documents(
        ["ip:6 port:registered dns_query:1 dns_query:28 dns_answers:2 tls_client:303 tls:304", "x"]
    )
    shown = TokensSpec(hidden=())
    expected = [1 / 3, np.sqrt(2) / 15, 1.5, 0.25, 3, 3, 0, 1, 1, 2, 1, 2]
    np.testing.assert_allclose(tokens(batch, shown)[0], expected, rtol=1e-5)
    assert not tokens(batch, shown)[1].any()
    hidden = tokens(batch, TokensSpec())[0]
    assert hidden[7:9].tolist() == [0, 0]  # port and IP version
    assert hidden[9:].tolist() == [2, 1, 2]


def test_statistics_are_of_the_first_packets() -> None:
    long = packets(np.arange(100.0), np.full(100, 100))
    found = tokens(batch_of([long]), TokensSpec(packets=5))[0]
    assert found[4] == 5


def test_the_vocabulary_are_the_commonest_words_that_are_not_hidden() -> None:
    batch = batch_of([[]] * 4).with_documents(["a port:1 b b", "a port:1 c", "c a port:1", "once"])
    spec = TokensSpec(words=2)
    assert with_vocabulary(spec, batch).vocabulary == ("a", "c")
    assert with_vocabulary(TokensSpec(), batch).vocabulary == ("a", "c")
    assert "port:1" in with_vocabulary(TokensSpec(hidden=()), batch).vocabulary
