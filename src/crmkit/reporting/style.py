"""How reports look: the colours, and the style sheets of chart and page."""

from __future__ import annotations

from typing import Final

# Blue and orange stay apart in every common colour blindness.
# Both keep a contrast of 3:1 to the surface, text keeps 4.5:1.
LIGHT: Final = {
    "ground": "#f4f5f7",
    "surface": "#ffffff",
    "ink": "#171b24",
    "muted": "#596273",
    "line": "#e4e7ec",
    "axis": "#aab2bf",
    "accent": "#2f62d9",
    "below": "#c2570c",
}
DARK: Final = {
    "ground": "#0e1015",
    "surface": "#171a21",
    "ink": "#eceef2",
    "muted": "#a4adbb",
    "line": "#2a2f3a",
    "axis": "#596273",
    "accent": "#7ba6ff",
    "below": "#f0a05a",
}
FONT: Final = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
TEXT_SIZE: Final = 13  # in a chart's own units


def palette_css(selector: str) -> str:
    """Return the colours as CSS variables on `selector`: dark on request, light on paper."""
    light, dark = (
        "".join(f"--crm-{name}:{colour};" for name, colour in palette.items())
        for palette in (LIGHT, DARK)
    )
    return (
        f"{selector}{{color-scheme:light dark;{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"
    )


# Every rule begins with .crm-chart: a style inside an inlined SVG applies to the whole page.
CHART_STYLE: Final = (
    palette_css(".crm-chart")
    + f".crm-chart text{{font:{TEXT_SIZE}px {FONT};font-variant-numeric:tabular-nums}}"
    + ".crm-chart .ink,.crm-chart .value{fill:var(--crm-ink)}"
    + ".crm-chart .value{font-weight:600}"
    + ".crm-chart .muted{fill:var(--crm-muted)}"
    + ".crm-chart .middle{text-anchor:middle}"
    + ".crm-chart .end{text-anchor:end}"
    + ".crm-chart .surface{fill:var(--crm-surface)}"
    + ".crm-chart .line{stroke:var(--crm-line)}"
    + ".crm-chart .axis{stroke:var(--crm-axis)}"
    + ".crm-chart .accent{fill:var(--crm-accent)}"
    + ".crm-chart .below{fill:var(--crm-below)}"
    + ".crm-chart .hit{fill:none;pointer-events:all}"
    # As a file of its own the chart is the root; inlined, the page gives it room.
    + ":root.crm-chart{box-sizing:border-box;padding:20px;background:var(--crm-surface)}"
)

TREE_STYLE: Final = (
    ".crm-chart .branch{fill:none;stroke:var(--crm-axis)}"
    ".crm-chart .mark{fill:none;stroke:var(--crm-surface);stroke-width:2;stroke-linecap:round}"
)

LINES_STYLE: Final = (
    ".crm-chart .one,.crm-chart .other{fill:none;stroke-width:2.5;stroke-linecap:round;"
    "stroke-linejoin:round}"
    ".crm-chart .one{stroke:var(--crm-accent)}"
    ".crm-chart .other{stroke:var(--crm-below);stroke-dasharray:6 6}"
)

PAGE_STYLE: Final = (
    palette_css(":root")
    + f"\nbody{{font:1rem/1.55 {FONT}}}"
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--crm-ground);color:var(--crm-ink);-webkit-text-size-adjust:100%}
header,main,footer{max-width:72rem;margin-inline:auto;padding-inline:clamp(1rem,4vw,2rem)}
header{padding-block:clamp(1.75rem,5vw,3.25rem) clamp(1.25rem,3vw,1.75rem)}
header p{margin:.4rem 0 0;color:var(--crm-muted);font-size:1.0625rem;max-width:60ch}
h1{margin:0;font-size:clamp(1.65rem,1.2rem + 2vw,2.25rem);line-height:1.15;letter-spacing:-.022em;
  text-wrap:balance}
h2{margin:0 0 1rem;font-size:1.0625rem;line-height:1.3;letter-spacing:-.006em}
h1,h2,p,dt,dd,td,th,summary{overflow-wrap:anywhere}
main{display:grid;gap:1.25rem;padding-bottom:2rem;outline:0}
main>*,.row>*,.figures>*{min-width:0}
section{background:var(--crm-surface);border:1px solid var(--crm-line);border-radius:.75rem;
  padding:clamp(1.1rem,3vw,1.5rem)}
.row{display:grid;gap:1.25rem}
.figures-section{background:none;border:0;padding:0}
.figures-section h2{margin-bottom:.75rem}
.figures{display:grid;gap:1rem;
  grid-template-columns:repeat(auto-fit,minmax(min(100%,10.5rem),1fr));margin:0}
.figures>div{display:grid;grid-row:span 3;grid-template-rows:subgrid;row-gap:.3rem;
  align-content:start;background:var(--crm-surface);
  border:1px solid var(--crm-line);border-radius:.75rem;
  padding:1rem 1.15rem 1.1rem}
dt{color:var(--crm-muted);font-size:.875rem;line-height:1.35}
dd{margin:0}
.figure{font-size:1.75rem;font-weight:650;line-height:1.15;
  letter-spacing:-.022em;font-variant-numeric:tabular-nums}
.figures.long .figure{font-size:1.375rem}
.note{margin:.35rem 0 0;color:var(--crm-muted);font-size:.875rem;line-height:1.45;max-width:75ch}
.figures .note{margin:0}
figure{margin:0}
svg{display:block;height:auto}
.chart-section>figure>.scroll>svg{min-width:46rem}
.row>section{display:flex;flex-direction:column}
.row svg{max-width:26rem}
.row details{margin-top:auto}
.row figure{margin-bottom:1.1rem}
.scroll{overflow-x:auto}
details{margin-top:1rem;border-top:1px solid var(--crm-line);padding-top:.75rem}
summary{cursor:pointer;width:fit-content;color:var(--crm-muted);font-size:.875rem}
summary:hover{color:var(--crm-ink)}
details[open] summary{margin-bottom:.75rem}
table{border-collapse:collapse;width:100%;font-size:.9375rem;line-height:1.4}
th,td{padding:.55rem 1.25rem .55rem 0;text-align:left;vertical-align:top;
  border-bottom:1px solid var(--crm-line);font-weight:400}
th:last-child,td:last-child{padding-right:0}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--crm-muted);font-size:.8125rem;font-weight:500;white-space:nowrap;
  vertical-align:bottom;border-color:var(--crm-axis)}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.number+th:not(.number),.number+td:not(.number){padding-left:1rem}
details table{font-size:.875rem}
.table-section>.note{margin-top:.9rem}
.text-section p{margin:0 0 .8rem;max-width:70ch}
.text-section p:last-child{margin:0}
.document-section>.note{margin:-.6rem 0 1rem}
pre{margin:0;max-height:32rem;overflow:auto;padding:1rem 1.15rem;border:1px solid var(--crm-line);
  border-radius:.5rem;background:var(--crm-ground);
  font:.8125rem/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;tab-size:2}
footer{padding-bottom:2.5rem;color:var(--crm-muted);font-size:.875rem}
footer p{margin:0}
.skip{position:absolute;left:1rem;top:-4rem;padding:.5rem .9rem;border-radius:.5rem;
  background:var(--crm-accent);color:var(--crm-surface)}
.skip:focus{top:1rem}
:focus-visible{outline:2px solid var(--crm-accent);outline-offset:2px}
@media (min-width:46rem){.row.of-2,.row.of-3{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media (min-width:62rem){.row.of-3{grid-template-columns:repeat(3,minmax(0,1fr))}}
@media print{
@page{margin:16mm}
html{font-size:80%}
body{background:none}
header,main,footer{max-width:none;padding-inline:1px}
header{padding-top:0}
main{display:block}
section,.row{margin-bottom:6mm}
section,.figures>div,tr{break-inside:avoid}
.table-section,.document-section{break-inside:auto}
.row.of-2{grid-template-columns:repeat(2,minmax(0,1fr))}
.row.of-3{grid-template-columns:repeat(3,minmax(0,1fr))}
h2{break-after:avoid}
thead{display:table-header-group}
.scroll,pre{overflow:visible;max-height:none}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
.chart-section>figure>.scroll>svg{min-width:0}
.skip,summary,details:not([open]){display:none}
}
"""
)
