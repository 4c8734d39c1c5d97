"""Files that `serve` translates: nothing but their texts changes, and placeholders come back, in their order."""

import io
import re
import zipfile
from pathlib import Path

import docx
import polib
import pytest
from docx.shared import Pt
from hypothesis import given
from hypothesis import strategies as st

from wmt_transformer.serve import documents, word
from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.kept import protected, restored

PIECES = st.sampled_from(
    [
        "Hund",
        "%s",
        "%(name)s",
        "{name}",
        "{}",
        "%1$d",
        "100%%",
        "<b>",
        "</b>",
        '<a href="?a&amp;b">',
        " ",
        "&",
        "<",
        "7",
        "&amp;",
    ]
)


def upper(page: str) -> str:
    """A translation of HTML that changes letters between tags alone."""
    return re.sub(r"(<[^>]*>|&\w+;)|([^<&]+)", lambda found: found[1] or found[2].upper(), page)


# ---- Placeholders


@given(st.lists(PIECES))
def test_what_is_not_translated_comes_back_letter_by_letter(pieces: list[str]):
    text = "".join(pieces)
    page, kept = protected(text)
    assert restored(page, kept) == (text, True) or not page


@pytest.mark.parametrize(
    "text, placeholders",
    [
        ("%s of %(count)d, %5.2f and %1$s; 100%%", ["%s", "%(count)d", "%5.2f", "%1$s", "100%%"]),
        ("{name}, {0}, {} {{x}} ${y} {\\an8}", ["{name}", "{0}", "{}", "{{x}}", "${y}", "{\\an8}"]),
        ("100% sure, 5 % of it", []),
    ],
)
def test_placeholders_of_gettext_are_known(text: str, placeholders: list[str]):
    assert protected(text)[1] == placeholders


def test_a_text_of_placeholders_alone_is_not_translated():
    assert protected("%s <b>{name}</b>: 12")[0] == protected("")[0] == ""


def test_order_that_matters_is_kept_and_what_is_doubtful_is_said():
    page, kept = protected("Ein %s und %d")
    first, second = re.findall(r"<span kept=\d+>7</span kept>", page)
    assert restored(f"{second} A {first}", kept) == ("%s A %d", False)
    assert restored(f"A {first.replace('7', 'Hund')} {second}", kept) == ("A %s Hund %d", False)
    page, kept = protected("Ein {a} und {b}")
    first, second = re.findall(r"<span kept=\d+>7</span kept>", page)
    assert restored(f"{second} A {first}", kept) == ("{b} A {a}", True)
    assert restored(first.replace("7", "die 7 A"), kept) == ("die {a} A", True)


# ---- Formats


SRT = """\ufeff1\r
00:00:01,000 --> 00:00:02,500 X1:1 X2:2\r
{\\an8}<i>Ein Hund sieht\r
eine Frau & den Mann</i>\r
\r
2\r
00:00:03,000 --> 00:00:04,000\r
- Hund?\r
- Mann!\r
"""


def test_of_subtitles_the_lines_alone_change():
    document = documents.read(SRT.encode(), ".srt", "en")
    assert len(document.texts) == 3 and document.html
    joined = [upper(page).replace("SIEHT\nEINE", "SIEHT EINE") for page in document.texts]
    expected = SRT[1:].replace("Ein Hund sieht\r\neine Frau & den Mann", "EIN HUND SIEHT\r\nEINE FRAU & DEN MANN")
    expected = expected.replace("Hund?", "HUND?").replace("Mann!", "MANN!")
    assert document.written(joined).decode() == expected


PO = r"""# A comment.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#: a.c:12
#, c-format
msgid "Ein %s sieht <b>%d</b> & mehr\n"
msgstr ""

msgctxt "menu"
msgid "Hund"
msgstr "dog"

msgid "%d Hund"
msgid_plural "%d Hunde"
msgstr[0] ""
msgstr[1] ""

msgid "%s"
msgstr ""

#~ msgid "alt"
#~ msgstr "old"
"""


def test_of_a_catalogue_what_is_not_translated_is():
    document = documents.read(PO.encode(), ".po", "en")
    found = polib.pofile(document.written([upper(page) for page in document.texts]).decode())
    one, menu, plural, alone, old = found
    assert one.msgstr == "EIN %s SIEHT <b>%d</b> & MEHR\n" and one.flags == ["c-format"] and one.occurrences
    assert (menu.msgctxt, menu.msgstr, alone.msgstr, old.obsolete) == ("menu", "dog", "%s", 1)
    assert plural.msgstr_plural == {0: "%d HUND", 1: "%d HUNDE"}
    assert found.metadata["Language"] == "en" and found.metadata["Plural-Forms"].startswith("nplurals=2")
    document = documents.read(PO.encode(), ".po", "ja")
    found = polib.pofile(document.written([upper(page) for page in document.texts]).decode())
    assert found[2].msgstr_plural == {0: "%d HUNDE"}  # Japanese has one form
    document = documents.read(PO.encode(), ".po", "en")
    found = polib.pofile(document.written([page.replace("7", "") for page in document.texts]).decode())
    assert found[0].fuzzy and found[0].msgstr.count("%s") == 1


def test_the_header_of_a_catalogue_is_kept_and_no_other_file_is_opened(tmp_path: Path):
    header = "Plural-Forms: nplurals=3; plural=(n%3);"
    document = documents.read(PO.replace('"Content', f'"{header}\\n"\n"Content').encode(), ".po", "en")
    found = polib.pofile(document.written(list(document.texts)).decode())
    assert "Language" not in found.metadata and f"Plural-Forms: {found.metadata['Plural-Forms']}" == header
    assert len(found[2].msgstr_plural) == 3
    (tmp_path / "secret.po").write_text(PO)
    with pytest.raises(Refused, match=r"no \.po file"):
        documents.read(str(tmp_path / "secret.po").encode(), ".po", "en")


@pytest.fixture
def report() -> bytes:
    document = docx.Document()
    paragraph = document.add_paragraph()
    for text, bold in (("Ein ", False), ("klei", True), ("ner", True), (" Hund & ", False)):
        paragraph.add_run(text).bold = bold
    paragraph.add_run("Mann").font.size = Pt(20)
    paragraph.add_run().add_tab()
    paragraph.add_run("Frau")
    document.add_table(1, 1).cell(0, 0).text = "Garten"
    document.sections[0].header.paragraphs[0].text = "See"
    document.add_paragraph("")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def test_of_a_word_file_runs_keep_their_formats_wherever_they_go(report: bytes):
    document = documents.read(report, ".docx", "en")
    assert sorted(document.texts) == sorted(
        [
            "<span run=0>Ein </span><span run=1>kleiner</span><span run=2> Hund &amp; </span><span run=3>Mann</span>",
            "Frau",
            "Garten",
            "See",
        ]
    )
    turned = "The <span run=3>MAN</span> <span run=1>little</span><span run=0></span> &lt;<span run=2> dog</span>!"
    written = document.written([turned if "run" in text else text.upper() for text in document.texts])
    found = docx.Document(io.BytesIO(written))
    first = found.paragraphs[0]
    assert first.text == "The MAN little <" + " dog!" + "\tFRAU"
    assert [run.text for run in first.runs if run.bold] == ["little"]
    assert [run.text for run in first.runs if run.font.size] == ["The MAN "]
    assert found.tables[0].cell(0, 0).text == "GARTEN" and found.sections[0].header.paragraphs[0].text == "SEE"


def test_a_file_that_is_not_what_its_name_says_is_refused(monkeypatch: pytest.MonkeyPatch, report: bytes):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    for data, suffix, message in (
        (b"\xff", ".txt", "byte 0 of the file is not UTF-8"),
        (b"Hund", ".srt", "no subtitles"),
        (b'msgid "a\nmsgstr', ".po", "no .po file"),
        (b"Hund", ".docx", "no .docx file"),
        (packed.getvalue(), ".docx", "no .docx file"),
        (report[: len(report) // 2], ".docx", "no .docx file"),
    ):
        with pytest.raises(Refused, match=message) as refusal:
            documents.read(data, suffix, "en")
        assert refusal.value.status == 400
    monkeypatch.setattr(word, "UNPACKED", 1000)
    with pytest.raises(Refused, match="unpacks to more") as refusal:
        documents.read(report, ".docx", "en")
    assert refusal.value.status == 413
