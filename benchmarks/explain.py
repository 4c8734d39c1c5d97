"""Measures the page of `explain`: how long from a sentence that is typed to its first picture.

    python benchmarks/explain.py PAGE.html SENTENCES [--rounds 3]

Chromium opens the page. Each line of SENTENCES is put into the page's text as one input; the clock runs until what the
reader then sees is drawn, the 40 ms included for which the page waits for another letter. The first sentence does not
count: the browser compiles the page's code with it. Needs selenium, and Chromium with its driver (Debian: apt install
chromium-driver).
"""

import argparse
import json
import os
import statistics
from pathlib import Path

from selenium import webdriver

TYPED = """
const [text, done] = arguments, body = document.body, before = Number(body.dataset.shown ?? 0);
const field = document.getElementById("text");
const start = performance.now();
let first;
const seen = new MutationObserver(() => {
  if (first === undefined && Number(body.dataset.shown) > before) first = performance.now() - start;
  if (first !== undefined && body.dataset.drawn === body.dataset.shown) { seen.disconnect(); done(first); }
});
seen.observe(body, { attributes: true });
field.value = text;
field.dispatchEvent(new Event("input", { bubbles: true }));
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="how often each sentence is typed (default: 3)")
    options = parser.parse_args()
    sentences = options.sentences.read_text(encoding="utf-8").splitlines()
    settings = webdriver.ChromeOptions()
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        settings.add_argument(argument)
    with webdriver.Chrome(settings) as browser:
        browser.get(options.page.resolve().as_uri())
        browser.set_script_timeout(120)
        browser.execute_async_script(TYPED, f"{sentences[-1]} ")
        times = [browser.execute_async_script(TYPED, one) for _ in range(options.rounds) for one in sentences]
    found = {"typed": len(times), "median_ms": statistics.median(times), "least_ms": min(times), "most_ms": max(times)}
    print(json.dumps({"cores": os.cpu_count(), **found}))


if __name__ == "__main__":
    main()
