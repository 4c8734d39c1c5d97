"""HTML whose translations and alignments are made up: where every tag goes, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from translators import toy_translator

from wmt_transformer.decode.lines import Translation
from wmt_transformer.serve import markup
from wmt_transformer.serve.directions import Direction
from wmt_transformer.serve.sentences import cut

DIRECTION = Direction("en", "de", toy_translator(), ("toy",))
PASSIVE = Translation("Ein Vogel wird vom alten Hund gesehen.", 0.0, ((0, 3), (1, 4), (2, 5), (3, 6), (4, 0), (5, 1)))


def translated(page: str, *translations: Translation) -> str:
    left = iter(translations)
    parts = markup.parse(page)
    for block in parts:
        if isinstance(block, markup.Block):
            block.translations = [next(left) for _ in block.cut(DIRECTION)]
    return markup.joined(parts)


@pytest.mark.parametrize(
    "page, expected",
    [
        (
            "<p>The <b>old dog</b> sees <i>a bird</i>.</p>",
            "<p><i>Ein Vogel</i> wird vom <b>alten Hund</b> gesehen.</p>",
        ),
        (
            '<li><a href="?a=1&amp;b">The <em>old</em> dog</a> sees a bird.',
            '<li>Ein Vogel wird <a href="?a=1&amp;b">vom <em>alten</em> Hund</a> gesehen.',
        ),
        ("<b>The old dog sees a bird.</b>", "<b>Ein Vogel wird vom alten Hund gesehen.</b>"),
        ("The old dog <img src=x>sees a bird.", "Ein Vogel wird vom alten Hund <img src=x>gesehen."),
    ],
)
def test_tags_go_where_their_words_went(page: str, expected: str):
    assert translated(page, PASSIVE) == expected


def test_what_is_no_text_stays_letter_by_letter():
    page = (
        "<!DOCTYPE html><html lang='en'><head><style>p > a {}</style></head>\n<!-- <b>no</b> -->\n"
        "<p title='a > b'  CLASS=x>&lt;1&gt; &amp; 2&nbsp;3</p>\n<pre>a\n <b>b</b></pre><br/><p translate=no>Stay "
        "<i>here</i></p><textarea>x</textarea><svg><text>y</text></svg>\n"
    )
    assert translated(page) == page


FRAGMENTS = [
    "<P Class=a >",
    "</P >",
    "<DIV>",
    "</Div\n>",
    "<br>",
    "<BR translate='no'/>",
    "<hr translate=no>",
    "<B>",
    "</b >",
]
FRAGMENTS += [
    "<!-- a <b> -->",
    "</>",
    "<?php a ?>",
    "<!x>",
    "<![CDATA[a]]>",
    "<pre>a &amp 1 &LT; &#65 </PRE>",
    "&nbsp",
    "&amp;",
]
FRAGMENTS += [
    "<script>a < b && '</x>'</Script>",
    "<p translate=no>Stay &copy <p>x</p></p>",
    "1 < 2",
    "\r\n",
    "&#8364;",
    "<textarea>a</textarea>",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_a_page_without_text_to_translate_comes_back_as_it_is(fragments: list[str]):
    page = "".join(fragments)
    assert translated(page) == page


def test_an_element_without_end_tag_does_not_stop_translation():
    assert translated("<br translate=no>The old dog sees a bird.", PASSIVE).endswith(PASSIVE.text)


@given(st.lists(st.sampled_from(["Go. ", "He went. ", "\n", "\t", "Mr. ", "a", "!", "\r\n", "。", "12", '"Yes."'])))
def test_sentences_put_together_are_the_text(pieces: list[str]):
    text = "".join(pieces)
    found = cut(text, DIRECTION)
    joined = found.joined([one.text for one in found.sentences])
    # Where two sentences touch, a space comes between them; nothing else changes.
    assert "".join(joined.split(" ")) == "".join(text.split(" "))
    for one in found.sentences:
        assert text[one.place :].startswith(one.text)
        assert one.tokens == len(DIRECTION.translator.vocabulary.encode(one.text)) + 1 <= 40
