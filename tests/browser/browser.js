// Debian's chromium, and pages in it that notice what they must not do: errors, violations of the policy, requests to
// anywhere but the endpoint.
"use strict";

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const PATIENCE_MS = 20000; // what is waited for comes in a second or two; the machine may be busy
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 360, height: 780 };

let launched = null;
const browser = () => (launched ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS }));
const close = async () => {
  if (launched) await (await launched).close();
  launched = null;
};

// A page at `url` and what it did. `expected` are statuses whose line in the console is no error of the page.
class Visit {
  static async to(url, { viewport = DESK, colorScheme = "light", bypassCSP = false, expected = [], touch = false } = {}) {
    const visit = new Visit();
    visit.url = url;
    visit.expected = expected;
    visit.errors = [];
    visit.requests = [];
    visit.context = await (await browser()).newContext({ viewport, colorScheme, bypassCSP, hasTouch: touch });
    visit.context.setDefaultTimeout(PATIENCE_MS);
    await visit.context.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
    visit.page = await visit.context.newPage();
    visit.page.on("request", (request) => visit.requests.push(request.url()));
    visit.page.on("pageerror", (error) => visit.errors.push(error.stack));
    visit.page.on("console", (message) => {
      const text = message.text();
      const known = visit.expected.some((status) => text.includes(status));
      if (["error", "warning"].includes(message.type()) && !known) visit.errors.push(text);
    });
    await visit.page.goto(url);
    return visit;
  }

  // Waits until `read` in the page gives something true.
  until(read, argument) {
    return this.page.waitForFunction(read, argument, { timeout: PATIENCE_MS });
  }

  // Waits until the element's text is, or matches, that.
  async says(selector, wanted) {
    const matches = wanted instanceof RegExp ? { source: wanted.source, flags: wanted.flags } : wanted;
    const read = ([selector, wanted]) => {
      const text = document.querySelector(selector)?.textContent ?? "";
      return typeof wanted === "string" ? text === wanted : new RegExp(wanted.source, wanted.flags).test(text);
    };
    try {
      await this.until(read, [selector, matches]);
    } catch {
      assert.fail(`${selector} says "${await this.text(selector)}", not ${wanted}`);
    }
  }

  text(selector) {
    return this.page.locator(selector).first().textContent();
  }

  rows() {
    return this.page.locator("#list tbody tr").count();
  }

  // Two answers more have been drawn.
  async twoTurns() {
    for (let turn = 0; turn < 2; turn += 1) {
      const before = await this.text("#updated");
      await this.until((before) => document.querySelector("#updated").textContent !== before, before);
    }
  }

  // Nothing went wrong, and nothing was asked of anybody else.
  async isClean() {
    const violations = await this.page.evaluate(() => window.violations);
    assert.deepEqual(violations, [], "violations of the policy");
    assert.deepEqual(this.errors, [], "errors in the console");
    const foreign = this.requests.filter((url) => !url.startsWith(this.url) && !url.startsWith("data:"));
    assert.deepEqual(foreign, [], "requests to elsewhere");
    assert.ok(this.requests.length > 0);
  }

  // No sideways scrolling of the page as a whole.
  async isNoWiderThanItsWindow() {
    const [content, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `the page is ${content} wide in a window of ${window}`);
  }

  // No finding of axe-core that is serious or critical.
  async isAccessible() {
    await this.page.evaluate(require("axe-core").source);
    const result = await this.page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const grave = result.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    const words = grave.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n")}`);
    assert.deepEqual(words, []);
    assert.ok(result.passes.length > 10, "axe-core looked at next to nothing");
  }

  async end() {
    await this.context.close();
  }
}

module.exports = { Visit, close, DESK, PHONE, PATIENCE_MS };
