// SPDX-License-Identifier: Apache-2.0
//
// Drives a page in headless Chromium as a person would, for the tests in Go:
//
//   node drive.mjs '{"width": 390, "height": 844, "touch": true, "steps": [["goto", "http://…"], …]}'
//
// Ends with 0 once every step was possible; otherwise says which was not, and
// what the page said then.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const plan = JSON.parse(process.argv[2]);
// Long, since a step that is possible takes no longer for it, however busy the machine.
const patience = 120000;

const browser = await chromium.launch({
  executablePath: plan.chromium ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const context = await browser.newContext({
  viewport: { width: plan.width ?? 390, height: plan.height ?? 844 },
  hasTouch: plan.touch ?? false,
  isMobile: plan.touch ?? false,
  javaScriptEnabled: plan.javaScript ?? true,
  colorScheme: plan.dark ? "dark" : "light",
  locale: plan.locale ?? "en-US",
  ignoreHTTPSErrors: plan.ignoreHTTPSErrors ?? false,
});
context.setDefaultTimeout(patience);
const page = await context.newPage();

// What a page must never do: fail a script, break its own policy, reach out.
const wrongs = [];
page.on("pageerror", (e) => wrongs.push(`script: ${e.message}`));
page.on("console", (m) => {
  if (m.type() === "error" && !/favicon|net::ERR|status of (4|5)/.test(m.text())) wrongs.push(`console: ${m.text()}`);
});
page.on("request", (r) => {
  const u = new URL(r.url());
  if (plan.host && u.protocol !== "data:" && u.host !== plan.host) wrongs.push(`asks ${u.host}`);
});

let devtools, authenticatorId;

const press = async (locator) => ((plan.touch ?? false) ? locator.tap() : locator.click());

// What somebody reads elsewhere, such as the code of a mail, they look for once they are
// asked: the driver fetches it, not the page.
const fillAsked = async (field, url) => {
  await field.waitFor();
  await field.fill(await (await fetch(url)).text());
};

// focus names what has it.
const focus = () => page.evaluate(() => {
  const e = document.activeElement;
  return (e.labels?.[0]?.textContent ?? e.textContent ?? "").trim();
});

const can = {
  goto: (url) => page.goto(url, { waitUntil: "domcontentloaded" }),
  see: (text) => page.getByText(text, { exact: false }).first().waitFor(),
  gone: (text) => page.getByText(text, { exact: false }).first().waitFor({ state: "hidden" }),
  button: (name) => press(page.getByRole("button", { name }).first()),
  link: (name) => press(page.getByRole("link", { name }).first()),
  tick: (name) => press(page.getByRole("checkbox", { name })),
  fill: (label, value) => page.getByLabel(label, { exact: false }).first().fill(value),
  fillin: (selector, value) => page.locator(selector).fill(value),
  fillasked: (label, url) => fillAsked(page.getByLabel(label, { exact: false }).first(), url),
  fillinasked: (selector, url) => fillAsked(page.locator(selector), url),
  // answer types what somebody works out from a field of the page, such as an app.
  answer: async (from, to, url) => {
    const body = await page.locator(from).inputValue();
    await page.locator(to).fill(await (await fetch(url, { method: "POST", body })).text());
  },
  buttonin: (selector, name) => press(page.locator(selector).getByRole("button", { name })),
  // authenticator plugs one in that keeps passkeys and is opened at once (WebAuthn, 11).
  authenticator: async () => {
    devtools = await context.newCDPSession(page);
    await devtools.send("WebAuthn.enable", { enableUI: false });
    ({ authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    }));
  },
  // finger says whether somebody touches the authenticator when it asks.
  finger: (enabled) => devtools.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled }),
  // open unfolds what a summary names.
  open: (name) => press(page.locator("summary", { hasText: name }).first()),
  key: (name) => page.keyboard.press(name),
  type: (text) => page.keyboard.type(text),
  // focused waits: a browser moves the focus to a field of a new page with its next picture.
  focused: async (name) => {
    for (const end = Date.now() + patience; ; await page.waitForTimeout(50)) {
      const got = await focus();
      if (got.includes(name)) return;
      if (Date.now() > end) throw new Error(`the focus is on '${got}', not on '${name}'`);
    }
  },
  // tab goes on until something has the focus.
  tab: async (name) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if ((await focus()).includes(name)) return;
    }
    throw new Error(`the Tab key does not reach '${name}'`);
  },
  attribute: async (label, name, want) => {
    const got = await page.getByLabel(label, { exact: false }).first().getAttribute(name);
    if (got !== want) throw new Error(`${name} of '${label}' is ${got}, not ${want}`);
  },
  // targets are as large as fingers need (WCAG 2.2, 2.5.5: 44 by 44), and within the screen.
  targets: async () => {
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, a, input:not([type=hidden]), summary")]
        .filter((e) => e.checkVisibility())
        .map((e) => ({ what: e.textContent.trim() || e.name, box: (e.closest("label") ?? e).getBoundingClientRect() }))
        .filter(({ box }) => box.height < 44 || box.width < 44 || box.right > innerWidth + 1)
        .map(({ what, box }) => `${what}: ${box.width} by ${box.height} to ${box.right}`),
    );
    if (small.length) throw new Error(small.join("; "));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) throw new Error(`the page is ${wide} pixels wider than the screen`);
  },
  axe: async () => {
    if (!(plan.javaScript ?? true)) throw new Error("axe needs JavaScript");
    // Through the debugger, since the page's own policy lets no other script in.
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    if (found.violations.length) {
      throw new Error(found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.html} ${n.any.map((a) => a.message).join(" ")}`).join(" | ")}`).join("\n"));
    }
  },
  shot: (path) => page.screenshot({ path }),
  // keep writes down what the page says; waitfor waits for a file of somebody else's, and fillfile types what it holds.
  keep: async (path) => {
    writeFileSync(path + ".part", await page.locator("body").innerText());
    renameSync(path + ".part", path);
  },
  waitfor: async (path) => {
    for (const end = Date.now() + patience; !existsSync(path); await page.waitForTimeout(50)) {
      if (Date.now() > end) throw new Error(`${path} does not come`);
    }
  },
  fillfile: async (label, path) => {
    await can.waitfor(path);
    await page.getByLabel(label, { exact: false }).first().fill(readFileSync(path, "utf8").trim());
  },
  // rename tells who waits for a file that it is whole.
  rename: (from, to) => renameSync(from, to),
  status: async (url, want) => {
    const got = (await page.goto(url)).status();
    if (got !== want) throw new Error(`${url} answers ${got}, not ${want}`);
  },
};

let step;
try {
  for (step of plan.steps) {
    // Nobody judges a page, or types into it, whose styles and scripts are still on their way.
    await page.waitForLoadState("load");
    await can[step[0]](...step.slice(1));
    if (wrongs.length) throw new Error(wrongs.join("; "));
  }
} catch (e) {
  const says = await page.locator("body").innerText({ timeout: 1000 }).catch(() => "nothing");
  console.error(`${JSON.stringify(step.slice(0, 2))}: ${e.message}\nat ${page.url().replace(/token=.*/, "token=…")} the page says:\n${says}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
