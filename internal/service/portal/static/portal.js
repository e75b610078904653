// SPDX-License-Identifier: Apache-2.0
// Comfort only: every page works without this file.
"use strict";
for (const field of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "second";
  button.textContent = field.dataset.copy;
  button.addEventListener("click", async () => {
    field.select();
    await navigator.clipboard.writeText(field.value);
    button.textContent = field.dataset.copied;
  });
  field.after(button);
}
for (const field of document.querySelectorAll("input[data-reveal]")) {
  const label = document.createElement("label");
  label.className = "check";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.addEventListener("change", () => { field.type = box.checked ? "text" : "password"; });
  label.append(box, " " + field.dataset.reveal);
  const caps = document.createElement("p");
  caps.className = "note";
  caps.setAttribute("role", "status");
  field.addEventListener("keyup", (e) => {
    caps.textContent = e.getModifierState && e.getModifierState("CapsLock") ? field.dataset.capslock : "";
  });
  field.after(caps, label);
}
// The proof of work of a check (ALTCHA, version 1): the number whose SHA-256 with
// the salt is the challenge. The form waits for it.
for (const box of document.querySelectorAll("[data-captcha]")) {
  const { algorithm, challenge, salt, signature, maxnumber } = JSON.parse(box.dataset.captcha);
  const says = box.querySelector("p");
  const buttons = box.closest("form").querySelectorAll("button:not([type=button])");
  for (const button of buttons) button.disabled = true;
  says.textContent = box.dataset.working;
  (async () => {
    const text = new TextEncoder();
    for (let from = 0; from <= maxnumber; from += 500) {
      const numbers = Array.from({ length: 500 }, (_, i) => from + i);
      const sums = await Promise.all(numbers.map((n) => crypto.subtle.digest("SHA-256", text.encode(salt + n))));
      const found = sums.findIndex((sum) => Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, "0")).join("") === challenge);
      if (found >= 0) {
        box.querySelector("input").value = btoa(JSON.stringify({ algorithm, challenge, number: from + found, salt, signature }));
        says.textContent = box.dataset.ready;
        break;
      }
    }
    for (const button of buttons) button.disabled = false;
  })();
}
