// The chat page: send without leaving, read the answer while it is written, stop it.
"use strict";

const composer = document.getElementById("composer");
const field = document.getElementById("text");
const turns = document.getElementById("turns");
const stop = document.getElementById("stop");
const send = composer?.querySelector("button.primary");

// Somebody else's shared conversation has no composer: it is only read.
field?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});

function bubble(role, text) {
  const turn = document.createElement("article");
  turn.className = `turn ${role}`;
  const said = document.createElement("p");
  said.className = "said";
  said.dir = "auto";
  said.textContent = text;
  turn.append(said);
  turns.querySelectorAll(".empty, [data-unanswered]").forEach((line) => line.remove());
  turns.append(turn);
  turn.scrollIntoView({ block: "end" });
  return said;
}

function busy(on) {
  send.hidden = on;
  stop.hidden = !on;
  field.disabled = on;
  turns.toggleAttribute("data-busy", on);
  if (!on) field.focus();
}

// Server-sent events out of a POST's body: EventSource can only GET, and an answer changes the conversation.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const parts = buffer.split("\n\n");
    buffer = parts.pop();
    for (const part of parts) {
      const [, name, data] = part.match(/^event: (\w+)\ndata: (.*)$/s);
      yield [name, JSON.parse(data)];
    }
  }
}

// Say, edit and write again differ in what is sent and in what goes from the page before the answer comes.
async function ask(address, body, change) {
  busy(true);
  const leave = new AbortController();
  stop.onclick = () => leave.abort();
  try {
    const said = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!said.ok) throw new Error(await sentence(said));
    change();
    const { chat } = await said.json();
    const begins = !composer.action.endsWith(`/${chat}`);
    composer.action = composer.getAttribute("action").replace(/\/chat(\/\d+)?$/, `/chat/${chat}`);
    history.replaceState(null, "", composer.action);
    if (begins) await renew("earlier", "foot");
    await read(leave.signal);
  } catch (problem) {
    if (problem.name === "AbortError") await stopped();
    else toast(problem instanceof TypeError ? toasts.dataset.offline : problem.message);
  } finally {
    busy(false);
  }
}

// Take parts of the page from the server again, by their ids.
async function renew(...parts) {
  const page = new DOMParser().parseFromString(await (await fetch(composer.action)).text(), "text/html");
  for (const part of parts) document.getElementById(part).innerHTML = page.getElementById(part).innerHTML;
}

// What was written until the stop is kept; the server hears of it at the next word, so the page asks a few times.
async function stopped() {
  const begun = !turns.querySelector(".turn:last-of-type .said.muted");
  for (const wait of [100, 300, 900]) {
    await new Promise((done) => setTimeout(done, wait));
    await renew("turns");
    if (!begun || !turns.querySelector("[data-unanswered]")) return;
  }
}

composer?.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (!text || stop.hidden === false) return;
  const body = new URLSearchParams(new FormData(composer)); // before its field is disabled, and left out
  ask(composer.action, body, () => {
    bubble("user", text);
    field.value = "";
  });
});

turns.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-asks]");
  if (!form || !composer) return;
  event.preventDefault();
  if (stop.hidden === false) return;
  const text = form.elements.text?.value.trim();
  const turn = form.closest("article");
  ask(form.action, new URLSearchParams(new FormData(form)), () => {
    while (turn.nextElementSibling) turn.nextElementSibling.remove();
    turn.remove();
    if (text) bubble("user", text);
  });
});

async function sentence(response) {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return page.querySelector(".lead")?.textContent || turns.dataset.broken;
}

async function read(signal) {
  const writing = bubble("assistant", turns.dataset.thinking);
  writing.classList.add("muted");
  let text = "";
  const response = await fetch(`${composer.action}/answer`, { method: "POST", signal });
  if (!response.ok) {
    writing.closest("article").remove();
    throw new Error(await sentence(response));
  }
  for await (const [name, data] of events(response)) {
    if (name === "piece") {
      text += data;
      writing.classList.remove("muted");
      writing.textContent = text;
      writing.scrollIntoView({ block: "end" });
    } else if (name === "problem") {
      writing.closest("article").remove();
      throw new Error(data);
    } else if (name === "turns" && data) {
      turns.innerHTML = data; // rendered and cleaned by the server
      document.getElementById("end").scrollIntoView({ block: "end" });
    }
  }
}
