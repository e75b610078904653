// SPDX-License-Identifier: Apache-2.0
// ALTCHA's widget (altcha/, MIT licence) in place of what a visitor without JavaScript reads.
// Its styles and its worker are files of their own, or our policy would stop them.
import "./altcha/altcha.min.js";

const { algorithms, i18n } = globalThis.$altcha;
algorithms.set("SHA-256", () => new Worker("/static/altcha/sha.js"));
// The widget looks its words up in small letters, and takes English for zh-Hans otherwise.
const language = document.documentElement.lang.toLowerCase();
for (const box of document.querySelectorAll("[data-captcha]")) {
  const { captcha, ...words } = box.dataset;
  i18n.set(language, words);
  const widget = document.createElement("altcha-widget");
  widget.setAttribute("challenge", captcha);
  widget.setAttribute("name", "captcha");
  widget.setAttribute("language", language);
  widget.setAttribute("auto", "onload");
  // Nothing is noted of how the visitor moves, and nothing leads away from the form.
  widget.setAttribute("configuration", JSON.stringify({ humanInteractionSignature: false, hideFooter: true, hideLogo: true, minDuration: 0 }));
  box.replaceChildren(widget);
}
