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
