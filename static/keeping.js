// What a browser remembers of somebody's work: what they began and did not send, and how long they have been at it.
"use strict";

const WEEK = 7 * 86_400_000;
const PAUSE = 600_000; // ms between two answers after which somebody has had a break

/* What was begun, by pair: it survives a reload, and is forgotten once it is sent */

const slot = (form) => `draft:${form.dataset.draft}`;

function keep(form) {
  const fields = [...new FormData(form)].filter(([name, value]) => name !== "seconds" && value);
  const step = form.querySelector("[data-send]:not([hidden])") && form.querySelector(".step[data-chosen]")?.value;
  if (!fields.length && !step) return forget(form);
  localStorage.setItem(slot(form), JSON.stringify({ fields, step, at: Date.now() }));
}

function forget(form) {
  localStorage.removeItem(slot(form));
}

// True where something was brought back. What the server sent with the page gives way: it is older.
function bringBack(choose) {
  for (const name of Object.keys(localStorage).filter((name) => name.startsWith("draft:")))
    if (!(read(name)?.at > Date.now() - WEEK)) localStorage.removeItem(name);
  const form = document.querySelector(".desk-form[data-draft]");
  const kept = form && read(slot(form));
  if (!kept) return false;
  for (const box of form.querySelectorAll("[type=checkbox], [type=radio]"))
    box.checked = kept.fields.some(([name, value]) => name === box.name && value === box.value);
  const reason = form.querySelector("[data-reason-text]");
  if (reason) reason.value = kept.fields.find(([name]) => name === reason.name)?.[1] ?? "";
  const step = kept.step && [...form.querySelectorAll(".step")].find((one) => one.value === kept.step);
  if (step) choose(step, true);
  for (const panel of form.querySelectorAll(".panel")) count(panel); // label.js
  return true;
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-leave]")) forget(document.querySelector(".desk-form"));
  if (!event.target.closest("[data-rested]")) return;
  localStorage.setItem("working-since", Date.now());
  event.target.closest(".rest").hidden = true;
  document.getElementById("prompt")?.focus({ preventScroll: true });
});

/* A break, where somebody wants to be reminded of it */

function worked() {
  const now = Date.now();
  if (now - (Number(localStorage.getItem("worked-last")) || 0) > PAUSE) localStorage.setItem("working-since", now);
  localStorage.setItem("worked-last", now);
  const after = Number(document.querySelector(".desk-form")?.dataset.break);
  const minutes = Math.floor((now - Number(localStorage.getItem("working-since"))) / 60_000);
  const line = document.querySelector("#desk .rest");
  if (!line || !after || minutes < after) return;
  const sentence = line.querySelector("[data-sentence]");
  sentence.textContent = sentence.dataset.sentence.replace("{n}", minutes);
  line.hidden = false;
}
