"""Search on the Chinese pages: text without spaces is found by its pairs of neighbouring characters.

Sphinx finds Chinese words only where jieba is installed, and then looks for a whole query among them; its own class
also names a stemmer in JavaScript that is not there (9.0), so that the page of results stays empty.
"""

from __future__ import annotations

import re

from sphinx.search.zh import SearchChinese


class ChineseSearch(SearchChinese):
    """Cuts pages, and in the browser queries, into pairs of Chinese characters and words of Latin letters."""

    language_name = "English"  # the stemmer's, which is for the Latin words
    js_splitter_code = r"""
function splitQuery(query) {
  return (query.match(/[\u3400-\u9fff]+|\w+/g) || []).flatMap(function (run) {
    if (/\w/.test(run)) return [run];
    return Array.from({ length: run.length - 1 }, function (_, i) { return run.slice(i, i + 2); });
  });
}
"""

    def split(self, input: str) -> list[str]:
        runs = re.findall("[\u3400-\u9fff]+", input)
        return super().split(input) + [run[i : i + 2] for run in runs for i in range(len(run) - 1)]
