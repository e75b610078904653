// SPDX-License-Identifier: Apache-2.0
// What the pages can do without, and do better with: count a wait down, show a
// password, point out caps lock, notice a change.
"use strict";

const where = document.body.dataset.where;
if (where) {
  const ask = async () => {
    try {
      const answer = await fetch("/state", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== where && !document.querySelector("form[aria-busy]")) {
        location.reload();
        return;
      }
    } catch {
      // The screen is being started again; its browser gets a new address.
    }
    setTimeout(ask, 1500);
  };
  setTimeout(ask, 1500);
}

for (const timer of document.querySelectorAll("[data-left]")) {
  const end = performance.now() + Number(timer.dataset.left);
  const text = timer.textContent;
  // The clock in the sentence: 1:02:03 or 4:05, the first of its kind there.
  const clock = /\d+(:\d\d){1,2}/;
  const tick = () => {
    const s = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const left = s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
    timer.textContent = text.replace(clock, left);
    if (s > 0) setTimeout(tick, 1000);
  };
  tick();
}

for (const button of document.querySelectorAll(".show")) {
  const field = document.getElementById(button.dataset.for);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? button.dataset.show : button.dataset.hide;
    button.setAttribute("aria-pressed", String(!shown));
    field.focus();
  });
}

for (const field of document.querySelectorAll("input[type=password]")) {
  const caps = field.parentElement.querySelector(".caps");
  const look = (event) => {
    if (caps && event.getModifierState) caps.hidden = !event.getModifierState("CapsLock");
  };
  field.addEventListener("keydown", look);
  field.addEventListener("keyup", look);
}

for (const form of document.forms) {
  form.addEventListener("submit", () => {
    form.setAttribute("aria-busy", "true");
    const busy = form.querySelector(".busy");
    if (busy) busy.hidden = false;
  });
}
