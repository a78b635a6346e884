// What every page shares: toasts that leave by themselves, and confirmation of what cannot be undone.
"use strict";

const toasts = document.getElementById("toasts");

new MutationObserver((changes) => {
  for (const change of changes)
    for (const node of change.addedNodes)
      if (node instanceof HTMLElement) setTimeout(() => node.remove(), 8000);
}).observe(toasts, { childList: true });

function toast(sentence) {
  const line = document.createElement("p");
  line.className = "toast";
  line.textContent = sentence;
  toasts.append(line);
}

document.addEventListener("htmx:sendError", () =>
  toast(toasts.dataset.offline),
);

document.addEventListener("submit", (event) => {
  const sentence = event.target.dataset.confirm;
  if (sentence && !window.confirm(sentence)) event.preventDefault();
});

// Moments are shown in the browser's time zone from the next page on.
document.cookie = `timezone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; max-age=31536000; samesite=lax`;

// On a phone the places of a project are one line that scrolls.
document.querySelector(".places [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// Copying needs a secure context; elsewhere the button stays hidden and the text can be selected.
if (navigator.clipboard)
  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = button.previousElementSibling;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(field.value);
      field.select();
      toast(button.dataset.copy);
    });
  }
