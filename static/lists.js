// Lists by keyboard: / goes to the search, j and k from row to row, Enter opens one, x ticks it; Shift ticks a range.
"use strict";

const typing = (target) =>
  target.closest("input:not([type=checkbox]), select, textarea");

function rowsOf(table) {
  return [...table.tBodies[0].rows];
}

function go(table, step) {
  const rows = rowsOf(table);
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const to =
    at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[at]?.classList.remove("here");
  rows[to].classList.add("here");
  const stop =
    rows[to].querySelector("a, input, button") ?? rows[to];
  stop.focus({ preventScroll: true });
  rows[to].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  const own = event.target.closest(".bulk input:not([type=checkbox])");
  if (own && event.key === "Enter") {
    // Its own button, not the form's first.
    event.preventDefault();
    own.nextElementSibling.click();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target))
    return;
  const table = document.querySelector("table[data-rows]");
  const search = document.querySelector("[data-search]");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (table && (event.key === "j" || event.key === "k")) {
    go(table, event.key === "j" ? 1 : -1);
  } else if (table && event.key === "x") {
    table.querySelector("tr.here [type=checkbox]")?.click();
  } else if (table && event.key === "Enter" && event.target.type === "checkbox") {
    // Enter would send the form by its first button, which nobody meant.
    event.preventDefault();
    event.target.closest("tr.here")?.querySelector("a")?.click();
  }
});

let last = null;

// The line about all rows of all pages stands only below a page whose rows are all ticked (app.css).
function agree(boxes) {
  const whole = boxes.every((box) => box.checked);
  const all = boxes[0].form.querySelector("[data-all]");
  const every = boxes[0].form.querySelector("[name=every]");
  all.checked = whole;
  if (every && !whole) every.checked = false;
}

document.addEventListener("click", (event) => {
  const box = event.target;
  if (!box.matches("[data-all], td [type=checkbox]")) return;
  const table = box.closest("table");
  const boxes = rowsOf(table).map((row) =>
    row.querySelector("[type=checkbox]"),
  );
  if (box.matches("[data-all]")) {
    for (const one of boxes) one.checked = box.checked;
  } else {
    const ends = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    if (event.shiftKey && ends[0] >= 0)
      for (const one of boxes.slice(ends[0], ends[1])) one.checked = box.checked;
    last = box;
  }
  if (table.querySelector("[data-all]")) agree(boxes);
});

// Pressed twice, the second press finds nothing left to do, and its answer would stand where Undo belongs.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.querySelector(".bulk")) return;
  if (form.ariaBusy === "true") event.preventDefault();
  form.ariaBusy = "true";
});

addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[aria-busy]")) form.ariaBusy = null;
});

// What was filled in above a list goes along when the list is searched, sorted or gone through.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-kept]");
  if (!form) return;
  const list = document.querySelector("[data-keeps]");
  const kept = [...new FormData(form)].filter(([, value]) => value);
  for (const link of list.querySelectorAll("a.by, .onward a, .filter a")) {
    const address = new URL(link.href);
    for (const { name } of form.elements) address.searchParams.delete(name);
    for (const [name, value] of kept) address.searchParams.append(name, value);
    link.href = address;
  }
  const search = list.querySelector(".filter");
  for (const old of search.querySelectorAll("[type=hidden]:not([name=sort])"))
    old.remove();
  for (const [name, value] of kept)
    search.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
});
