# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the page looks and how it keeps itself up to date. Nothing else on it may be a style or a script."""

from __future__ import annotations

import hashlib
from base64 import b64encode

# Colours that the colour-blind can tell apart too. Priorities go from strong to faint.
STYLE = """
:root{color-scheme:light dark;--ground:#f4f6f8;--card:#fff;--ink:#1c2430;--faint:#5c6773;--rule:#dfe4e9;
--accent:#0b62a8;--good:#0f7b52;--warn:#a15500;--bad:#b3261e;--unknown:#6b7280;--hatch:#9aa4b0;
--ready:#4b93cf;--starting:#f0b13c;--draining:#b9a3d6;--wait:#cf8a3d;--all:#6d9fc9;--halo:#fff;
--p0:#08519c;--p1:#3182bd;--p2:#6baed6;--p3:#9ecae1;--p4:#c6dbef;--p5:#d9e8f5;
--w0:#b9d6ee;--w1:#f6d9a8;--w2:#bfe3cf;--w3:#e6c9e6;--w4:#f3c5bd;--w5:#dcdca8;--w6:#e3e7ec}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1b212a;--ink:#e6eaef;--faint:#9aa6b2;--rule:#2e3743;
--accent:#6cb4f0;--good:#58c795;--warn:#f0ad4e;--bad:#ff8a80;--unknown:#a3adb8;--hatch:#5b6672;
--ready:#2f77b5;--starting:#c98b1b;--draining:#7d67a0;--wait:#b5722a;--all:#3f74a3;--halo:#1b212a;
--p0:#7cc0f5;--p1:#4f9fdc;--p2:#3580bd;--p3:#28659a;--p4:#214f78;--p5:#1d3f5e;
--w0:#22496b;--w1:#5e4718;--w2:#1f5239;--w3:#533653;--w4:#643530;--w5:#4f4f22;--w6:#2a323c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:16px 20px 48px}
h1{font-size:21px;margin:0}h2{font-size:20px;margin:0 0 10px;overflow-wrap:anywhere}
h3{font-size:15px;margin:18px 0 6px}h3 small{font-weight:400;color:var(--faint);margin-left:8px}
p{margin:4px 0}ul{margin:4px 0;padding-left:20px}a{color:var(--accent)}pre{overflow-x:auto;font-size:12px}
header{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:baseline;margin-bottom:12px}
header nav{margin-left:auto}nav a,nav b{padding:2px 8px;border-radius:5px}
nav b{background:var(--accent);color:var(--card)}
.faint,header p,summary,.help{color:var(--faint)}
.notice{border-left:4px solid var(--warn);background:var(--card);padding:8px 12px;margin:8px 0;border-radius:4px}
.notice.bad{border-color:var(--bad);font-weight:600}
.fleet,.fleets{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 18px;margin:0 0 18px}
.fleet{border-top:4px solid var(--rule)}.fleet.up,.fleet.down{border-top-color:var(--accent)}
.fleet.full,.fleet.trouble,.fleet.paused{border-top-color:var(--warn)}
.fleet.unknown{border-top-color:var(--unknown);border-style:dashed}
.state{font-size:13px;font-weight:600;padding:2px 9px;border-radius:10px;margin-left:10px;vertical-align:2px;
border:1px solid currentColor;color:var(--good);white-space:nowrap}
.state.up,.state.down{color:var(--accent)}.state.full,.state.trouble,.state.paused{color:var(--warn)}
.state.unknown{color:var(--ink);border-style:dashed;border-color:var(--unknown);background:repeating-linear-gradient(
45deg,transparent 0 5px,color-mix(in srgb,var(--hatch) 35%,transparent) 5px 7px)}
.numbers{display:flex;flex-wrap:wrap;gap:8px;margin:0}
.number{border:1px solid var(--rule);border-radius:6px;padding:6px 12px;min-width:92px}
.number dt{font-size:12px;color:var(--faint)}.number dd{margin:0;font-size:19px;font-weight:600;
font-variant-numeric:tabular-nums}.number.first dd{color:var(--accent)}
.number.unknown{border-style:dashed;border-color:var(--unknown);background:repeating-linear-gradient(45deg,transparent
0 6px,color-mix(in srgb,var(--hatch) 30%,transparent) 6px 8px)}
.number.unknown dd{font-size:15px;line-height:27px;color:var(--faint)}
.why{border-left:4px solid var(--accent);padding:2px 0 2px 14px;margin:14px 0 0}.why h3{margin:0 0 2px}
.columns{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,3fr);gap:0 32px}
@media(max-width:900px){.columns{display:block}}
.decision{font-size:17px}.why p,.why li,.decisions td{overflow-wrap:anywhere}
.troubles li{color:var(--bad)}.unknowns li{color:var(--faint)}
figure{margin:10px 0 0}figcaption{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;color:var(--faint)}
figcaption b{color:var(--ink)}.legend{white-space:nowrap}
.key{display:inline-block;width:14px;height:10px;border-radius:2px;margin-right:5px;background:currentColor}
.key.wanted,.key.ceiling,.key.floor,.key.promised{height:0;background:none;border-top:2px solid;border-radius:0;
vertical-align:3px}
.key.ceiling,.key.floor,.key.promised{border-top-style:dashed}
svg{display:block;overflow:visible}.plot svg{overflow:hidden}
text{font-size:11px;fill:var(--faint)}.time,.gap{text-anchor:middle}.at0{text-anchor:start}.at24{text-anchor:end}
.scale,.gap{paint-order:stroke;stroke:var(--halo);stroke-width:3px;stroke-linejoin:round}
.gap{font-size:12px;fill:var(--ink)}
.grid,.ground{stroke:var(--rule);stroke-width:1}.ground{stroke:var(--faint)}
.line{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke:var(--accent)}
.line.wanted{stroke:var(--ink)}.line.promised{stroke:var(--bad);stroke-dasharray:5 4;stroke-width:1.5}
.line.ceiling{stroke:var(--bad);stroke-dasharray:6 4}.line.floor{stroke:var(--good);stroke-dasharray:6 4}
.key.wanted{color:var(--ink)}.key.ceiling,.key.promised{color:var(--bad)}.key.floor{color:var(--good)}
.area{stroke:none}.ready{fill:var(--ready);color:var(--ready)}.starting{fill:var(--starting);color:var(--starting)}
.draining{fill:var(--draining);color:var(--draining)}.area.wait{fill:var(--wait);opacity:.75}
.whole{fill:var(--all);color:var(--all)}
.p0{fill:var(--p0);color:var(--p0)}.p1{fill:var(--p1);color:var(--p1)}.p2{fill:var(--p2);color:var(--p2)}
.p3{fill:var(--p3);color:var(--p3)}.p4{fill:var(--p4);color:var(--p4)}
.p5,.p6,.p7,.p8,.p9{fill:var(--p5);color:var(--p5)}
rect.unknown{fill:url(#hatch)}rect.unseen{fill:url(#dots)}.hatch{stroke:var(--hatch);stroke-width:3}.dot{fill:var(--rule)}
.marks text{text-anchor:middle;font-size:12px}.marks .up,td.up{fill:var(--accent);color:var(--accent)}
.marks .down,td.down{fill:var(--faint);color:var(--faint)}
table{border-collapse:collapse}td,th{text-align:left;padding:3px 14px 3px 0;vertical-align:top;font-weight:400}
thead th{color:var(--faint);font-size:12px}td.up,td.down{font-weight:600;white-space:nowrap}
.decisions table{width:100%}.decisions td{border-top:1px solid var(--rule);padding:5px 10px 5px 0}
.fleets td{white-space:nowrap}.fleets td.reason{white-space:normal;min-width:240px}
.when{white-space:nowrap;font-variant-numeric:tabular-nums}.decisions .faint{font-size:13px}
.fleets table{width:100%}.fleets td,.fleets th{border-top:1px solid var(--rule);padding:6px 14px 6px 0;
font-variant-numeric:tabular-nums}.fleets thead th{border:0}.scroll{overflow-x:auto}
details{margin-top:12px}summary{cursor:pointer}
.week{width:100%;margin:6px 0}.week th{width:1%;white-space:nowrap;padding:1px 10px 1px 0;font-size:13px}
.week td{padding:1px 0}.bar{overflow:hidden}.bar text{fill:var(--ink)}.bounds{font-weight:700}
.w0 rect{fill:var(--w0)}.w1 rect{fill:var(--w1)}.w2 rect{fill:var(--w2)}.w3 rect{fill:var(--w3)}
.w4 rect{fill:var(--w4)}.w5 rect{fill:var(--w5)}.outside rect{fill:var(--w6)}
.once rect{stroke:var(--warn);stroke-width:3}.bar.paused rect{fill:url(#hatch);stroke:var(--warn);stroke-width:2}
.bar.paused text{font-weight:700;paint-order:stroke;stroke:var(--halo);stroke-width:3px}
.now{stroke:var(--bad);stroke-width:2}
.patterns{position:absolute;width:0;height:0}
#silent{display:none}.silent #silent{display:block}.silent main{filter:grayscale(1);opacity:.6}
#silent{position:sticky;top:0;z-index:1;background:var(--bad);color:var(--card);padding:8px 20px;font-weight:600}
@media(max-width:600px){main{padding:10px 10px 32px}.fleet,.fleets{padding:12px}.number{min-width:78px;padding:5px 9px}
.number dd{font-size:17px}.decisions tr{display:block;padding:6px 0;border-top:1px solid var(--rule)}
.decisions td{display:inline-block}.decisions td:last-child{display:block}.decisions td{border:0;padding:2px 10px 2px 0}
.fleets .state{display:block;width:max-content;margin:4px 0 0}header nav{margin-left:0}
.fleets .reason{display:none}}
"""

# Sections that are the same stay as they are, so that what is selected, opened or scrolled to stays too.
SCRIPT = """
"use strict";
(function () {
  var shown = {};
  function sections(main) { return Array.prototype.slice.call(main.children); }
  function key(each, number) { return each.id || "part-" + number; }
  function remember(main) {
    shown = {};
    sections(main).forEach(function (each, number) { shown[key(each, number)] = each.outerHTML; });
  }
  function keepOpen(before, after) {
    before.querySelectorAll("details[id]").forEach(function (one) {
      var same = after.querySelector("details#" + one.id);
      if (same) { same.open = one.open; }
    });
  }
  function take(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html");
    var next = fresh.querySelector("main"), main = document.querySelector("main");
    if (!next) { throw new Error("no page"); }
    var before = shown, parts = sections(next), old = sections(main);
    document.title = fresh.title;
    main.dataset.at = next.dataset.at;
    main.dataset.every = next.dataset.every;
    remember(next);
    var same = old.length === parts.length && parts.every(function (each, number) {
      return key(each, number) === key(old[number], number);
    });
    if (!same) {
      keepOpen(main, next);
      main.replaceChildren.apply(main, parts.map(function (each) { return document.adoptNode(each); }));
      return;
    }
    parts.forEach(function (each, number) {
      if (before[key(each, number)] === shown[key(each, number)]) { return; }
      keepOpen(old[number], each);
      old[number].replaceWith(document.adoptNode(each));
    });
  }
  function silent(is) { document.body.classList.toggle("silent", is); }
  function again() {
    var every = Number(document.querySelector("main").dataset.every) || 5;
    setTimeout(look, 1000 * Math.min(Math.max(every, 2), 60));
  }
  function look() {
    if (document.hidden) { again(); return; }
    var stop = new AbortController(), late = setTimeout(function () { stop.abort(); }, 10000);
    fetch(location.href, { cache: "no-store", signal: stop.signal }).then(function (answer) {
      if (!answer.ok) { throw new Error(answer.status); }
      return answer.text();
    }).then(function (text) { take(text); silent(false); }).catch(function () { silent(true); }).then(function () {
      clearTimeout(late);
      again();
    });
  }
  remember(document.querySelector("main"));
  again();
})();
"""


def source(text: str) -> str:
    """Return what a Content-Security-Policy calls a style or a script with this text."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
