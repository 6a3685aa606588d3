"""Draw one figure of an audit's report as an SVG with a headless browser (Debian's chromium).

leanfront audit NAME --kind limits --json > found.json
python docs/make_figure.py found.json limits "Accuracy along sparsity" > docs/limits-sparsity.svg
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

from plotly.offline import get_plotlyjs

from leanfront.core.audit import KINDS
from leanfront.core.audit.pieces import Drawing

WIDTH = 880
BROWSER = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--virtual-time-budget=20000",
    "--dump-dom",
)
PAGE = """<!doctype html><meta charset="utf-8"><div id="figure"></div><script>{plotly}</script><script>
const drawn = {figure};
drawn.layout.width = {width};
drawn.layout.paper_bgcolor = "#ffffff";
drawn.layout.plot_bgcolor = "#ffffff";
Plotly.newPlot("figure", drawn.data, drawn.layout)
  .then(it => Plotly.toImage(it, {{format: "svg", width: {width}, height: drawn.layout.height}}))
  .then(address => {{ document.body.textContent = address; }});
</script>"""


def drawing(path: Path, kind: str, title: str) -> Drawing:
    """Return the first drawing of the kind whose title begins with `title`.

    Raises:
        SystemExit: there is no such drawing; the message lists the titles.
    """
    (document,) = [
        each["document"] for each in json.loads(path.read_text())["audits"] if each["kind"] == kind
    ]
    drawings = [piece for piece in KINDS[kind].figures(document) if isinstance(piece, Drawing)]
    for each in drawings:
        if each.title.startswith(title):
            return each
    raise SystemExit("no such figure; there are: " + ", ".join(each.title for each in drawings))


def svg(found: Drawing) -> str:
    """Return the SVG text of a drawing."""
    page = PAGE.format(plotly=get_plotlyjs(), figure=found.figure.to_json(), width=WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figure.html"
        file.write_text(page, encoding="utf-8")
        shown = subprocess.run(
            [*BROWSER, file.as_uri()],
            capture_output=True,
            text=True,
            check=True,
        )
    match = re.search(r"data:image/svg\+xml,([^<\s]+)", shown.stdout)
    if match is None:
        raise SystemExit("the browser drew nothing")
    return unquote(match[1]) + "\n"


if __name__ == "__main__":
    where, of, named = sys.argv[1:]
    sys.stdout.write(svg(drawing(Path(where), of, named)))
