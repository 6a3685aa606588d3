"""The HTML page of an audit report: frame, style and the script that draws figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from plotly.offline import get_plotlyjs

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "base-uri 'none'; form-action 'none'"
)
"""Content security policy of the page: run its own scripts (plotly compiles drawing code), load nothing."""

STYLE = """
:root { --back: #ffffff; --card: #f6f8fa; --text: #1b1f24; --soft: #57606a; --line: #c9d1d9; --grid: #e6e9ed;
  --link: #0067a0; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --card: #1d2126; --text: #e6e8eb; --soft: #a3adb8;
  --line: #4b545e; --grid: #2c3239; --link: #6cc3f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; font-size: 1.3rem; }
p { max-width: 50rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; }
nav a { display: inline-block; padding: .25rem 0; }
.source, .note, .alt { color: var(--soft); font-size: .9rem; }
.alt { margin: .25rem 0 0; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }
thead th { border-bottom-color: var(--line); color: var(--soft); font-weight: 500; }
tr > :first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 500; }
.figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr));
  margin: 1rem 0; }
figure { margin: 0; min-width: 0; padding: .75rem; border-radius: .5rem; background: var(--card); }
figure.wide { grid-column: 1 / -1; }
figcaption { font-weight: 600; margin-bottom: .25rem; overflow-wrap: anywhere; }
.plot { width: 100%; }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .35rem 0; font-weight: 600; overflow-wrap: anywhere; }
code { font-size: .85rem; overflow-wrap: anywhere; }
.gallery { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); list-style: none;
  margin: 0; padding: 0; font-size: .85rem; }
.gallery img, .gallery .nothing { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated;
  background: var(--grid); }
.gallery .nothing { display: grid; place-items: center; color: var(--soft); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; margin: .25rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
a:focus-visible, summary:focus-visible, .table:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media print { figure { break-inside: avoid; } }
"""

SCRIPT = """
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  const template = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: of("--grid"), zerolinecolor: of("--line"), linecolor: of("--line") };
    const bar = { bgcolor: "rgba(0,0,0,0)", color: of("--soft"), activecolor: of("--text") };
    const hover = { bgcolor: of("--back"), bordercolor: of("--line"), font: { color: of("--text") } };
    return { layout: { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
      font: { color: of("--text"), family: "system-ui, sans-serif", size: 12 }, hoverlabel: hover, modebar: bar } };
  };
  const draw = (place) => {
    const figure = JSON.parse(document.getElementById(place.id + "-data").textContent);
    figure.layout.template = template();
    drawn.add(place);
    return Plotly.react(place, figure.data, figure.layout, { responsive: true, displaylogo: false,
      displayModeBar: place.closest(".small") ? false : "hover", showSendToCloud: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"] });
  };
  // A report has hundreds of figures: each is drawn when it is about to become visible.
  const watch = new IntersectionObserver((found) => {
    for (const { target, isIntersecting } of found) {
      if (isIntersecting) { watch.unobserve(target); draw(target); }
    }
  }, { rootMargin: "400px" });
  plots.forEach((place) => watch.observe(place));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((each) => { each.open = true; });
    plots.filter((place) => !drawn.has(place)).forEach(draw);
  });
})();
"""


def page(
    title: str,
    made: str,
    links: Sequence[tuple[str, str]],
    sections: Sequence[str],
    figures: Sequence[tuple[str, str]],
) -> str:
    """Return a complete HTML document that loads nothing.

    Args:
        title: title as text.
        made: markup under the title.
        links: (id of a section, its name as text) pairs.
        sections: markup of the sections.
        figures: (id of a plot's element, plotly JSON without ``<``) pairs.
    """
    items = "".join(f'<li><a href="#{escape(place)}">{escape(name)}</a></li>' for place, name in links)
    data = "\n".join(
        f'<script type="application/json" id="{escape(identifier)}-data">{text}</script>'
        for identifier, text in figures
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>{escape(title)}</h1>{made}</header>",
            f'<nav aria-label="Kinds of audit"><ul>{items}</ul></nav>',
            "<noscript><p>The figures need JavaScript; tables and sentences have the same content.</p></noscript>",
            "<main>",
            *sections,
            "</main>",
            data,
            f"<script>{get_plotlyjs() if figures else ''}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )
