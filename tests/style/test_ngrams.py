"""Masked n-grams: the manner stays, the topic goes."""

from realusersim_nb.style import ngrams


def test_topic_is_masked_and_manner_is_not():
    grams = ngrams.list_ngrams(["Sort the 12 Whales, please!"], {"the", "please"})
    assert grams[:9] == ["^", "X", "the", "9", "X", ",", "please", "!", "$"] and "X the" in grams
    assert grams == ngrams.list_ngrams(["Paint the 7 Houses, please!"], {"the", "please"})


def test_writer_is_nearest_whatever_they_write_about():
    known = [["do it , the cat ...", "the dog ..."] * 3, ["Do the cat!", "Is it the dog?!"] * 3]
    likeness = ngrams.compare_ngrams(known, [["the whale ...", "it , the sea ..."], ["See the whale?!"]])
    assert (likeness.argmax(axis=1) == [0, 1]).all()


def test_five_words_in_a_row_make_a_copy():
    known = ["write a poem about the sea"]
    assert ngrams.mark_copies(["Write a poem about THE sky", "write a poem about a sea"], known) == [
        True,
        False,
    ]


def test_marks_blanks_and_ends_of_messages_are_listed_without_words():
    assert ngrams.list_marks(["Do it , now!"])[:7] == ["^", "X", "x", " ,", "x", "!", "$"]
    assert ngrams.list_marks(["a  b\n\nc"])[1:6] == ["x", "␣", "x", "¶¶", "x"]
    assert ngrams.list_ends(["Sort the list."], {"the"}) == [
        "^ X",
        ". $",
        "^ X the",
        "x . $",
        "^ X the x",
        "the x . $",
    ]
