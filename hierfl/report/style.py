"""The style sheet of reports, as Python: a bundle of Flower's holds no .css files."""

STYLE = """\
:root { color-scheme: light dark; --fg: #1c2330; --bg: #fff; --dim: #667085; --line: #e4e7ec;
  --card: #f9fafb; }
@media (prefers-color-scheme: dark) {
  :root { --fg: #e6e9ef; --bg: #14181f; --dim: #98a2b3; --line: #2b3340; --card: #1b212b; }
}
@media print { :root { --fg: #000; --bg: #fff; --dim: #555; --line: #ccc; --card: #fff; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 0
  auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p.sub, .empty { color: var(--dim); margin: 0 0 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font-size: 11px; }
svg .end { text-anchor: end; } svg .mid { text-anchor: middle; } svg .label { font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .fault { stroke: #c23030; stroke-width: 1.5; } svg .back { stroke: #27966b; stroke-width:
  1.5; stroke-dasharray: 3 3; }
svg polyline { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg circle { fill: var(--c); }
.c0 { --c: #2f6fde; } .c1 { --c: #d9822b; } .c2 { --c: #27966b; } .c3 { --c: #c23030; }
.c4 { --c: #8f5bd6; } .c5 { --c: #00998c; } .c6 { --c: #b04a8a; } .c7 { --c: #7a7f87; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem;
  margin: .5rem 0; }
.legend li::before { content: ""; display: inline-block; width: .8rem; height: .8rem;
  margin-right: .4rem; border-radius: 2px; background: var(--c); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.warn { border-left: 4px solid #d9822b; padding: .25rem .75rem; background: var(--card); }
"""
