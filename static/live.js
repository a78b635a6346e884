// Live pages: the server sends rendered parts as they change; what is open or has the focus stays so.
"use strict";

for (const root of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(root.dataset.live);
  for (const part of root.querySelectorAll("[data-part]"))
    source.addEventListener(part.dataset.part, (event) => replace(part, event.data));
  source.addEventListener("end", () => source.close());
  window.addEventListener("pagehide", () => source.close());
}

function replace(part, html) {
  const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.id));
  const ticked = [...part.querySelectorAll("input[type=checkbox][id]:checked")].map((box) => box.id);
  const scrolled = new Map([...part.querySelectorAll("details[open] pre, details[open] .table-scroll")].map((box, n) => [n, box.scrollTop]));
  const active = part.contains(document.activeElement) ? document.activeElement : null;
  const focus = active && (active.id ? `#${CSS.escape(active.id)}` : active.getAttribute("href") && `[href="${CSS.escape(active.getAttribute("href"))}"]`);
  part.innerHTML = html;
  for (const id of ticked) if (part.querySelector(`#${CSS.escape(id)}`)) part.querySelector(`#${CSS.escape(id)}`).checked = true;
  for (const details of part.querySelectorAll("details[id]")) if (open.has(details.id)) details.open = true;
  [...part.querySelectorAll("details[open] pre, details[open] .table-scroll")].forEach((box, n) => { box.scrollTop = scrolled.get(n) || 0; });
  if (focus) part.querySelector(focus)?.focus({ preventScroll: true });
  document.dispatchEvent(new Event("live")); // static/curves.js draws its cursor again
}
