// How two answers are read: words that differ marked, both scrolled level, as they were written, the A/B switch of a phone.
"use strict";

const WORDS = /[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]/gu;
const MOST = 2500; // words of one answer up to which the differences are the fewest possible
const HIGHLIGHTS = "highlights" in CSS;

function aid() {
  for (const name of ["written", "differences", "level"]) apply(name);
  const sides = new IntersectionObserver(
    (seen) => seen.forEach((one) => one.isIntersecting && now(one.target.id)),
    { rootMargin: "-30% 0px -70% 0px" },
  );
  for (const answer of document.querySelectorAll(".shown")) sides.observe(answer);
}

function now(side) {
  for (const link of document.querySelectorAll(".side-switch a"))
    if (link.dataset.side === side) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
}

/* Three switches that are remembered */

function apply(name) {
  const on = localStorage.getItem(name) === "on";
  const button = document.querySelector(`[data-toggle="${name}"]`);
  button?.setAttribute("aria-pressed", on);
  if (name === "written")
    for (const text of document.querySelectorAll(".shown .scroll > *")) text.hidden = text.matches(".written") !== on;
  if (name === "level") return;
  const differences = document.querySelector('[data-toggle="differences"]');
  if (differences) differences.hidden = !HIGHLIGHTS;
  if (HIGHLIGHTS) mark(localStorage.getItem("differences") === "on");
}

document.addEventListener("click", (event) => {
  const { toggle } = event.target.closest("[data-toggle]")?.dataset || {};
  if (toggle) {
    localStorage.setItem(toggle, localStorage.getItem(toggle) === "on" ? "" : "on");
    apply(toggle);
  }
  const link = event.target.closest(".side-switch a");
  if (link) {
    event.preventDefault(); // the address stays that of the page, and Back leaves it
    document.getElementById(link.dataset.side).scrollIntoView({ block: "start" });
  }
});

document.addEventListener("scroll", (event) => {
  if (localStorage.getItem("level") !== "on" || !event.target.matches?.(".shown .scroll")) return;
  for (const other of document.querySelectorAll(".shown .scroll"))
    if (other !== event.target) other.scrollTop = event.target.scrollTop;
}, true);

/* Differences, drawn by the browser over the text: the document itself stays as it is, so copying does too */

function mark(on) {
  for (const side of ["left", "right"]) CSS.highlights.delete(`differs-${side}`);
  const [left, right] = document.querySelectorAll(".shown .scroll > :not([hidden])");
  if (!on || !right) return;
  const [a, b] = [words(left), words(right)];
  const [onlyA, onlyB] = differing(a, b);
  CSS.highlights.set("differs-left", new Highlight(...onlyA.map((word) => word.range)));
  CSS.highlights.set("differs-right", new Highlight(...onlyB.map((word) => word.range)));
}

function words(element) {
  const found = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    for (const match of walker.currentNode.data.matchAll(WORDS)) {
      const range = new StaticRange({
        startContainer: walker.currentNode,
        startOffset: match.index,
        endContainer: walker.currentNode,
        endOffset: match.index + match[0].length,
      });
      found.push({ text: match[0].toLowerCase(), range });
    }
  return found;
}

// What is in no longest common subsequence; beyond MOST words, what the other side does not have at all.
function differing(a, b) {
  if (Math.max(a.length, b.length) > MOST) {
    const [inA, inB] = [a, b].map((side) => new Set(side.map((word) => word.text)));
    return [a.filter((word) => !inB.has(word.text)), b.filter((word) => !inA.has(word.text))];
  }
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] =
        a[i].text === b[j].text
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
  const [onlyA, onlyB] = [[], []];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length)
    if (a[i].text === b[j].text) i++, j++;
    else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) onlyA.push(a[i++]);
    else onlyB.push(b[j++]);
  return [onlyA.concat(a.slice(i)), onlyB.concat(b.slice(j))];
}
