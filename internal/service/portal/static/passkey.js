// SPDX-License-Identifier: Apache-2.0
// Passkeys (WebAuthn, Level 3). A page without this script has other ways.
"use strict";
(() => {
  const able = window.PublicKeyCredential?.parseRequestOptionsFromJSON && window.PublicKeyCredential?.parseCreationOptionsFromJSON;
  if (!able) return;
  // One ceremony at a time: what waits in the identifier's field ends when a button is pushed.
  let waiting = new AbortController();
  const send = (box, ceremony, credential) => {
    box.querySelector("[name=offer]").value = ceremony.offer;
    box.querySelector("[name=answer]").value = JSON.stringify(credential.toJSON());
    const form = box.closest("form");
    for (const field of form.querySelectorAll("[data-instead]")) field.required = false;
    form.requestSubmit(form.querySelector("button:not([type=button])"));
  };
  const ask = async (box, mediation) => {
    const answer = await fetch(box.dataset.passkey, { method: "POST" });
    if (!answer.ok) throw new Error("refused");
    const ceremony = await answer.json();
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(ceremony.options);
    send(box, ceremony, await navigator.credentials.get({ publicKey, mediation, signal: waiting.signal }));
  };
  const create = async (box) => {
    const ceremony = JSON.parse(box.dataset.create);
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(ceremony.options);
    send(box, ceremony, await navigator.credentials.create({ publicKey, signal: waiting.signal }));
  };
  for (const box of document.querySelectorAll(".passkey")) {
    const says = box.querySelector("p") ?? document.createElement("p");
    says.setAttribute("role", "status");
    says.textContent = "";
    const button = document.createElement("button");
    button.type = "button";
    button.className = box.dataset.create ? "" : "second";
    button.textContent = box.dataset.label;
    button.addEventListener("click", async () => {
      says.textContent = "";
      waiting.abort();
      waiting = new AbortController();
      try {
        await (box.dataset.create ? create(box) : ask(box));
      } catch {
        says.textContent = box.dataset.failed;
      }
    });
    box.append(button, says);
    if (box.hasAttribute("data-conditional")) {
      PublicKeyCredential.isConditionalMediationAvailable?.().then((there) => there && ask(box, "conditional")).catch(() => {});
    }
  }
})();
