"""One page that holds a whole report: no file beside it, no address outside it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelsim.analysis.result import Result
from accelsim.hardware.device import Device
from accelsim.report.naming import bottleneck, facets, labels, varied
from accelsim.report.scale import MISSING
from accelsim.report.sheets import (
    Sheet,
    device_peaks_sheet,
    device_sections,
    headline_rows,
    ops_sheet,
    shared_facets,
    sweep_sheet,
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #666; --line: #ddd; --page: #fff; --shade: #f5f6f8;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #a0a0a0; --line: #3a3a3a; --page: #16181b;
  --shade: #202328; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; color: var(--ink); background: var(--page);
  font: 15px system-ui, sans-serif; line-height: 1.5; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.lead, figcaption, .note { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .22rem .7rem .22rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
table.sortable th { cursor: pointer; } table.sortable th:hover { color: var(--accent); }
.l { text-align: left; } td.w { white-space: normal; } tr.t td { color: var(--soft); }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; background: #fff; padding: .5rem; border-radius: 4px;
  border: 1px solid var(--line); }
figcaption { font-size: .9rem; max-width: 50rem; }
details { border: 1px solid var(--line); border-radius: 4px; margin: .5rem 0; padding: .1rem .9rem; }
details[open] { padding-bottom: .8rem; } summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
summary .note { font-weight: 400; }
pre { background: var(--shade); padding: .7rem; overflow-x: auto; border-radius: 4px; font-size: .85rem; }
li { margin: .2rem 0; }
"""

_SCRIPT = """
document.querySelectorAll("table.sortable th").forEach(function (head) {
  head.addEventListener("click", function () {
    var table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
    var down = head.dataset.down !== "1";
    head.dataset.down = down ? "1" : "0";
    var powers = { f: -15, p: -12, n: -9, "\\u00b5": -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15 };
    function key(row) {
      var text = row.cells[at].textContent.trim();
      var found = /^<?(-?[0-9.]+(?:e[-+]?[0-9]+)?) ?([fpn\\u00b5mkMGTP]?)/.exec(text);
      if (!found) { return text; }
      var unit = text.slice(found[1].length).trim();
      var power = unit.length && found[2] && unit !== "min" ? powers[found[2]] : 0;
      return parseFloat(found[1]) * Math.pow(10, power);
    }
    Array.from(body.rows).sort(function (a, b) {
      var x = key(a), y = key(b);
      var order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? 1 : -1;
      return down ? -order : order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
"""

_PAGE_PX = 1750
"""Width of a figure as wide as a page [pixels]: 7 in at 250 dpi."""

_ADDRESS = re.compile(r"(?:https?:)?//(?=\w)")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: ``body`` is HTML already."""

    title: str
    body: str


def html_report(title: str, *sections: Section, lead: str = "") -> str:
    """Put sections together to a page that stands alone."""
    parts = "\n".join(f"<section>\n<h2>{text(part.title)}</h2>\n{part.body}\n</section>" for part in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{text(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{text(title)}</h1>\n"
        f'<p class="lead">{text(lead)}</p>\n{parts}\n<script>{_SCRIPT}</script>\n</body>\n</html>\n'
    )


def demo_report(
    results: Sequence[Result],
    figures: Mapping[str, bytes],
    captions: Mapping[str, str],
    *,
    devices: Sequence[Device] = (),
    command: str = "",
    notes: Sequence[str] = (),
    title: str = "accelsim: what runs how fast, and why",
) -> str:
    """Page of all runs: headlines, figures (PNG, in the order given), details, data sheets, how to make it again.

    ``notes`` say what there is to see.
    """
    sections = [Section("All runs", runs_body(results))]
    if notes:
        sections.insert(0, Section("What to look at", _list(notes)))
    if figures:
        sections.append(Section("Figures", "\n".join(figure(png, captions.get(n, n)) for n, png in figures.items())))
    sections.append(Section("Each run", "\n".join(map(run_details, results, labels(results)))))
    if devices:
        sections.append(Section("Devices and sources", "\n".join(map(device_details, devices))))
    sections.append(Section("Make it again", _again(results, command)))
    return html_report(title, *sections, lead=_lead(results))


def text(value: object) -> str:
    """Escaped text; an address loses its scheme, so that nothing in the page can be mistaken for a link.

    >>> text("<a> of https://arxiv.org/abs/1506.02626")
    '&lt;a&gt; of arxiv.org/abs/1506.02626'
    """
    return html.escape(_ADDRESS.sub("", str(value)))


def table(sheet: Sheet, *, sortable: bool = True) -> str:
    """Write a sheet as an HTML table; its totals stand below the rows that can be sorted."""
    heads = "".join(
        f'<th class="l">{text(c.name)}</th>' if c.left else f"<th>{text(c.name)}</th>" for c in sheet.columns
    )
    last = len(sheet.rows) - sheet.totals
    body = "\n".join(_row(sheet, row) for row in sheet.rows[:last])
    foot = "\n".join(_row(sheet, row, "t") for row in sheet.rows[last:])
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide"><table{kind}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        + (f"<tfoot>\n{foot}\n</tfoot>\n" if foot else "")
        + "</table></div>"
    )


def _row(sheet: Sheet, row: Sequence[str], kind: str = "") -> str:
    cells = "".join(
        f'<td class="l{" w" if column.wrap else ""}">{text(cell)}</td>' if column.left else f"<td>{text(cell)}</td>"
        for column, cell in zip(sheet.columns, row, strict=True)
    )
    return f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"


def figure(png: bytes, caption: str) -> str:
    """Put a picture inside the page, with its caption; text in all of them is equally large."""
    picture = base64.b64encode(png).decode("ascii")
    share = min(1.0, int.from_bytes(png[16:20]) / _PAGE_PX)
    width = f' style="width: {share:.1%}"' if share else ""
    return (
        f'<figure><img alt="{text(caption)}"{width} src="data:image/png;base64,{picture}">\n'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def runs_body(results: Sequence[Result]) -> str:
    """All runs in one table, and what they share."""
    if not results:
        return "<p>No runs.</p>"
    sheet = sweep_sheet(results)
    same = "; ".join(shared_facets(results, [column.name for column in sheet.columns]))
    shared = f'<p class="note">{text(same)}</p>\n' if same else ""
    return (
        f'{shared}{table(sheet)}\n<p class="note">x roof: latency over the roofline latency. Click a head to sort.</p>'
    )


def run_details(result: Result, name: str = "") -> str:
    """One run, folded: headlines, bottleneck, warnings, all ops, identity."""
    title = name or f"{result.workload['name']} on {result.device['name']}"
    rows = "\n".join(
        f'<tr><td class="l">{text(key)}</td><td>{text(value)}</td><td class="l w">{text(remark)}</td></tr>'
        for key, value, remark in headline_rows(result)
    )
    warned = f"<p>Warnings</p>\n{_list(result.warnings)}\n" if result.warnings else ""
    return (
        f'<details><summary>{text(title)} <span class="note">{text(bottleneck(result))}</span></summary>\n'
        f'<div class="wide"><table>\n{rows}\n</table></div>\n{warned}'
        f"<p></p>\n{table(ops_sheet(result, top=None))}\n"
        f'<p class="note">{text(_identity(result))}</p>\n</details>'
    )


def _identity(result: Result) -> str:
    hashes = ", ".join(
        f"{what} sha256 {str(about.get('sha256', ''))[:16] or MISSING}"
        for what, about in (("device", result.device), ("workload", result.workload))
    )
    known = ", ".join(f"{name} {value}" for name, value in facets(result).items())
    return f"{known}; seed {result.seed}; {hashes}; accelsim {result.accelsim_version}"


def device_details(device: Device) -> str:
    """Write a device's data sheet, folded: every number with its source."""
    parts = []
    for name, fields, source in device_sections(device):
        rows = "\n".join(
            f'<tr><td class="l">{text(key)}</td><td class="l w">{text(value)}</td></tr>'
            for key, value in [*fields, ("source", source)]
        )
        parts.append(f"<p><b>{text(name or 'device')}</b></p>\n<table>\n{rows}\n</table>")
    return (
        f'<details><summary>{text(device.name)} <span class="note">{text(device.description)}</span></summary>\n'
        f"{table(device_peaks_sheet(device), sortable=False)}\n" + "\n".join(parts) + "\n</details>"
    )


def _list(lines: Sequence[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{text(line)}</li>" for line in lines) + "\n</ul>"


def _lead(results: Sequence[Result]) -> str:
    if not results:
        return "No runs."
    count = len(results)
    over = ", ".join(varied(results))
    return f"{count} run{'s' if count != 1 else ''}{f' over {over}' if over else ''}."


def _again(results: Sequence[Result], command: str) -> str:
    versions = ", ".join(dict.fromkeys(result.accelsim_version for result in results))
    made = f'<p class="note">Made by accelsim {text(versions)}; the same version writes the same bytes.</p>'
    return (f"<pre>{text(command)}</pre>\n" if command else "") + made
