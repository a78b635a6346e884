// One cursor for all curves of a group: the pointer or the arrow keys choose a step, every curve shows its value there.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const chosen = new Map(); // group's id -> step, so that a live page keeps it

function groupOf(node) {
  return node instanceof Element ? node.closest(".curves[id]") : null;
}

function seriesOf(group) {
  return [...group.querySelectorAll("[data-places]")].map((node) => ({ node, places: JSON.parse(node.dataset.places) }));
}

function stepsOf(group) {
  return [...new Set(seriesOf(group).flatMap((one) => one.places.map((place) => place[0])))].sort((a, b) => a - b);
}

function clear(group) {
  for (const node of group.querySelectorAll(".cursor")) node.remove();
  for (const svg of group.querySelectorAll("svg")) svg.classList.remove("with-cursor");
}

function show(group, step) {
  clear(group);
  if (step === undefined) return;
  for (const { node, places } of seriesOf(group)) {
    const place = places.reduce((best, one) => (Math.abs(one[0] - step) < Math.abs(best[0] - step) ? one : best));
    const svg = node.closest("svg");
    if (!svg.classList.contains("with-cursor")) {
      svg.classList.add("with-cursor");
      svg.append(drawn("line", { class: "cursor", x1: place[2], x2: place[2], y1: 18, y2: 114 }));
      const label = drawn("text", { class: "cursor at", x: Math.min(Math.max(place[2], 12), 240), y: 130 });
      label.textContent = place[0];
      svg.append(label);
    }
    node.append(drawn("circle", { class: "cursor dot", cx: place[2], cy: place[3], r: 3.5 }));
    const last = node.querySelector(":scope > .last");
    const value = drawn("text", { class: "cursor value", x: last.getAttribute("x"), y: last.getAttribute("y") });
    value.textContent = last.textContent.includes(":") ? `${last.textContent.split(":")[0]}: ${place[1]}` : place[1];
    node.append(value);
  }
}

function drawn(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function choose(group, step) {
  if (step === undefined) chosen.delete(group.id);
  else chosen.set(group.id, step);
  show(group, step);
}

document.addEventListener("pointermove", (event) => {
  const group = groupOf(event.target);
  const svg = event.target instanceof Element ? event.target.closest(".curve svg") : null;
  if (!group || !svg) return;
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 320;
  const node = svg.dataset.places ? svg : svg.querySelector("[data-places]");
  const places = JSON.parse(node.dataset.places);
  choose(group, places.reduce((best, one) => (Math.abs(one[2] - x) < Math.abs(best[2] - x) ? one : best))[0]);
});

document.addEventListener("pointerout", (event) => {
  const group = groupOf(event.target);
  if (group && !group.contains(event.relatedTarget) && document.activeElement !== group) choose(group, undefined);
});

document.addEventListener("keydown", (event) => {
  const group = document.activeElement;
  if (!(group instanceof Element) || !group.matches(".curves[id]")) return;
  const steps = stepsOf(group);
  const at = chosen.has(group.id) ? steps.indexOf(chosen.get(group.id)) : steps.length;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[event.key];
  if (event.key === "Escape") choose(group, undefined);
  if (to === undefined) return;
  event.preventDefault();
  choose(group, steps[Math.min(Math.max(to, 0), steps.length - 1)]);
});

document.addEventListener("live", () => {
  for (const group of document.querySelectorAll(".curves[id]")) show(group, chosen.get(group.id));
});
