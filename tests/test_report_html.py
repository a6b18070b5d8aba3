"""The page: stands alone, well formed, escaped, the same bytes every time."""

import re
from html.parser import HTMLParser

import pytest
from report_samples import DEVICES, make_result

from accelsim.report.figures import energy_figure
from accelsim.report.html import Section, demo_report, device_details, html_report
from accelsim.report.style import figure_bytes

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Checks that every tag is closed by its own end."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(**more):
    results = [
        make_result(d, batch=b, ops=10, workload="<script>alert(1)</script>", warnings=('see https://x.org & "y"',))
        for d in DEVICES
        for b in (1, 8)
    ]
    plot = energy_figure(results)
    return demo_report(
        results,
        {"energy": figure_bytes(plot.figure, "png")},
        {"energy": plot.caption},
        command="accelsim demo -o out && echo <done>",
        notes=["BERT falls back to the host."],
        **more,
    )


def test_the_page_is_well_formed_and_escaped():
    parser = Balance()
    text = page()
    parser.feed(text)
    assert parser.open == []
    assert {"details", "figure", "table", "h1"} <= parser.tags
    assert "<script>alert" not in text
    assert "&lt;done&gt;" in text
    assert text.count("<details>") == 8


def test_the_page_refers_to_nothing_outside():
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page())
    assert "http" not in bare
    assert "//" not in bare
    assert "@import" not in bare
    assert "url(" not in bare


def test_the_page_is_the_same_every_time():
    assert page() == page()


def test_sections_are_put_in_order():
    text = html_report("a & b", Section("one", "<p>1</p>"), Section("two", "<p>2</p>"), lead="lead")
    assert text.index("<h2>one</h2>") < text.index("<h2>two</h2>")
    assert "<h1>a &amp; b</h1>" in text


def test_no_runs_make_a_page_too():
    assert "No runs." in demo_report([], {}, {})


def test_a_device_shows_every_source():
    loader = pytest.importorskip("accelsim.hardware.loader")
    device = loader.load_device("tpu_v1")
    text = device_details(device)
    assert "unified_buffer" in text
    assert text.count(">source<") >= 8
