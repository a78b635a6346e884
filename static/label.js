// The label page's hands: keys, one submit at a time, a lease kept alive, nothing lost when the line is down.
// Everything here presses buttons that are on the page anyway; without this file they work by themselves.
"use strict";

const SETTLE = 250; // ms in which a new pair takes no answer: nobody has read it, so it was a second click on the old one
const BEAT = 60_000;
const IDLE = 600_000; // ms without a sign of life after which the lease may lapse
const TYPING = "textarea, select, input:not([type=checkbox], [type=radio], [type=hidden])";

let busy = false; // a request is on its way
let arrived = 0; // when this pair came, and how long it was looked at before the page was last hidden
let looked = 0;
let lastSign = performance.now();
let pressed = null; // the button last sent, for sending again
let chosen = null; // the step that waits for a reason
let confirmed = false;
let retry = 0;
let beating = null; // ends the beat that is on its way

const find = (selector) => document.querySelector(`#desk ${selector}`);
const desk = () => document.getElementById("desk");

/* A pair arrives */

function arrive(first) {
  arrived = performance.now();
  looked = 0;
  chosen = pressed = null;
  aid(); // reading.js
  const back = bringBack(choose); // keeping.js
  if (!first) {
    document.getElementById("announce").textContent = desk().dataset.said || "";
    worked();
    document.getElementById("prompt")?.focus({ preventScroll: true });
    if (matchMedia("(max-width: 40rem)").matches) scrollTo(0, 0);
  }
  const here = desk();
  setTimeout(() => here.setAttribute("data-ready", ""), first ? 0 : SETTLE);
  const saved = find(".saved");
  if (saved && back) saved.textContent = saved.dataset.draft;
  if (saved) setTimeout(() => saved.classList.add("faded"), 8000);
}

function seconds() {
  const now = document.hidden ? 0 : performance.now() - arrived;
  return ((looked + now) / 1000).toFixed(1);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) looked += performance.now() - arrived;
  else arrived = performance.now();
});

/* An answer leaves, once */

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(".desk-form, #undo")) return;
  const step = event.submitter?.name === "choice" && event.submitter.value !== "cannot_judge";
  if (busy || !("ready" in desk().dataset)) stop(event);
  else if (form.dataset.asks && step && !confirmed) {
    stop(event);
    choose(event.submitter);
  } else {
    pressed = event.submitter;
    beating?.abort(); // it would find the pair answered
    if (form.elements.seconds) form.elements.seconds.value = seconds();
    // Without htmx (the edit page) the browser itself takes it from here.
    busy = form.hasAttribute("hx-post");
  }
  confirmed = false;
}, true);

function stop(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function choose(button, quietly) {
  chosen?.removeAttribute("data-chosen");
  chosen = button;
  button.setAttribute("data-chosen", "");
  const send = find("[data-send]");
  send.hidden = false;
  send.querySelector("b").textContent = (button.querySelector("span") || button.lastChild).textContent.trim();
  const reason = find("[data-reason-text]");
  keep(button.form); // keeping.js
  if (!quietly && button.form.dataset.asks === "reason" && !reason.value.trim()) openPanel(reason.closest("details"));
}

function send(button) {
  confirmed = true;
  button.click();
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches?.(".desk-form, #undo")) desk().setAttribute("aria-busy", "true");
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.id !== "desk") return;
  const { status } = event.detail.xhr;
  if ([200, 409, 410, 422].includes(status)) {
    // What was sent is stored, or can be stored no more; what was refused is in the reply.
    if (event.detail.requestConfig.elt.matches(".desk-form")) forget(event.detail.requestConfig.elt);
    return;
  }
  event.detail.shouldSwap = false;
  if (status !== 204) unsent(status === 401 ? "signedout" : "broken", true);
});

document.addEventListener("htmx:afterRequest", (event) => {
  // The form itself is gone by now, so the event comes from what stood around it.
  if (!event.detail.requestConfig.elt.matches(".desk-form, #undo")) return;
  busy = false;
  desk()?.removeAttribute("aria-busy");
});

// Before the page's own listener on the document: it would say the same a second time.
for (const name of ["htmx:sendError", "htmx:timeout"])
  document.body.addEventListener(name, (event) => {
    if (event.target.closest("#desk")) event.stopPropagation();
    if (!event.target.matches(".desk-form, #undo")) return;
    unsent("offline", true);
    clearTimeout(retry);
    retry = setTimeout(again, 5000);
  });

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "desk") arrive(false);
});

function unsent(why, again) {
  const line = find(".unsent");
  if (!line) return;
  line.querySelector("span").textContent = line.dataset[why];
  line.querySelector("[data-retry]").hidden = !again;
  line.hidden = false;
}

function again() {
  clearTimeout(retry);
  if (!busy && pressed?.isConnected) send(pressed);
}

addEventListener("online", () => find(".unsent:not([hidden])") && again());

/* Keys: each presses the button that carries it */

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches(TYPING)) return inField(event);
  if (event.repeat || document.querySelector(".overlay:popover-open") && event.key !== "?") return;
  const key = nameOf(event);
  if (key === "escape") return closePanels();
  if (key === "enter") return enter(event);
  // While the reasons to skip are open, digits choose among them and nothing else.
  const name = find(".panel[open] [data-reason]") && /^\d$/.test(key) ? "reason" : "key";
  const button = find(`[data-${name}="${CSS.escape(key)}"]`);
  if (!button) return;
  event.preventDefault();
  if (button.matches("summary")) openPanel(button.parentElement);
  else button.click();
});

function nameOf(event) {
  // A keyboard set to Korean sends other letters from the same places.
  const key = /^[^\x00-\x7f]$/.test(event.key) ? event.code.replace(/^Key/, "") : event.key;
  return key === "x" || key === "X" ? "c" : key.toLowerCase();
}

function inField(event) {
  if (event.key === "Escape") closePanels();
  if (event.key !== "Enter" || event.shiftKey || !event.target.matches("[data-reason-text]")) return;
  event.preventDefault();
  if (chosen && event.target.value.trim()) send(chosen);
  else if (!chosen) closePanels();
}

function enter(event) {
  if (event.target.closest("a, button, summary")) return;
  event.preventDefault(); // in a box it would press the form's first button
  if (chosen) send(chosen);
  else if (find(".unsent:not([hidden])")) again();
  else find("[data-key=enter]")?.click();
}

function openPanel(panel) {
  panel.open = !panel.open;
  const field = panel.querySelector("textarea, input, button");
  if (panel.open) field.focus();
  else closePanels();
}

const openPanels = () => document.querySelectorAll(".panel[open]");

function closePanels() {
  for (const panel of openPanels()) panel.open = false;
  document.getElementById("prompt")?.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-retry]")) again();
  else if (event.target.closest("[data-send]")) send(chosen);
  else if (!event.target.closest(".panel")) for (const panel of openPanels()) panel.open = false;
});

document.addEventListener("input", (event) => {
  const panel = event.target.closest(".panel");
  if (panel) count(panel);
  if (event.target.form?.matches(".desk-form")) keep(event.target.form);
});

function count(panel) {
  const shown = panel.querySelector(".count");
  if (!shown) return;
  const flags = panel.querySelectorAll(":checked").length;
  shown.textContent = flags || 1;
  shown.hidden = !flags && !panel.querySelector("textarea")?.value.trim();
}

/* The lease: kept while somebody is there, given back on leaving */

const lease = () => desk()?.dataset.assignment && `/api/v1/assignments/${desk().dataset.assignment}`;

for (const sign of ["keydown", "pointerdown", "pointermove", "wheel", "touchmove"])
  addEventListener(sign, () => (lastSign = performance.now()), { passive: true });

async function beat() {
  const address = lease();
  if (!address || busy || document.hidden || performance.now() - lastSign > IDLE) return;
  beating = new AbortController();
  const reply = await fetch(`${address}/heartbeat`, { method: "POST", signal: beating.signal }).catch(() => null);
  if (address !== lease()) return;
  if (reply?.status === 410) unsent("gone", false);
  if (reply?.status === 409) unsent("elsewhere", false);
}

setInterval(beat, BEAT);
// A reload lets the lease go after the new page has got it again; the first beat takes it back.
setTimeout(beat, 2000);
addEventListener("pagehide", () => lease() && fetch(lease(), { method: "DELETE", keepalive: true }).catch(() => null));
addEventListener("pageshow", (event) => event.persisted && beat());

// Not before htmx, which takes the forms over at this event: a choice sent earlier would leave the page, and be lost
// where there is no connection.
document.addEventListener("DOMContentLoaded", () => arrive(true));
