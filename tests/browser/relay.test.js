// The page as the relay serves it, over sessions that are there: it draws them, it follows them, it ends them.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { Relay, startEcho, until } = require("./relay.js");
const { Visit, close } = require("./browser.js");

after(close);

// A test with a relay of its own, an echo server and a visit to the dashboard.
function served(name, options, act) {
  test(name, async () => {
    const echo = await startEcho();
    const relay = await Relay.start(options);
    const visit = await Visit.to(relay.url, options);
    try {
      await act(visit, relay, echo);
      if (!options.bypassCSP) await visit.isClean();
    } finally {
      await visit.end();
      await relay.stop();
      await echo.stop();
    }
  });
}

const rowOf = (visit, target) => visit.page.locator("#list tbody tr", { hasText: target });
const cell = (visit, target, label) => rowOf(visit, target).locator(`[data-label="${label}"]`).textContent();

served("a_relay_without_sessions_is_drawn", {}, async (visit, relay) => {
  await visit.says("#state-word", "serving");
  await visit.says("#list-empty", "No session is open.");
  await visit.says("#facts", new RegExp(`Listens on127\\.0\\.0\\.1:${relay.port}Relayauto`));
  assert.equal(await visit.page.locator("#workers tbody tr").count(), 2);
  const words = await visit.text("main");
  assert.doesNotMatch(words, /NaN|undefined|null|Infinity/);
});

served("a_session_is_drawn_while_it_runs", {}, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await session.echo(300000);
  const target = `127.0.0.1:${echo.port}`;
  await visit.until((target) => document.querySelector("#list tbody")?.textContent.includes(target), target);
  await visit.says("#list td[data-label=Down]", "300 kB");
  assert.equal(await cell(visit, target, "State"), "relaying");
  assert.match(await cell(visit, target, "Command"), /^CONNECT (copy|splice)$/);
  assert.equal(await cell(visit, target, "Client"), `127.0.0.1:${session.socket.localPort}`);
  await session.echo(700000);
  await visit.says("#list td[data-label=Up]", "1.00 MB");
  await visit.says("#list td[data-label=Rate]", /bit\/s$/);
  await visit.says("#chart-sessions .value", "1");
  await visit.says("#phases tbody tr", /^Handshake1/);
  await visit.says("#top-targets li .link", "127.0.0.1");
  await visit.says("#top-targets li", /1 session1\.\d\d MB|1 session2\.00 MB/);
  session.socket.end();
  await visit.says("#list-empty", "No session is open.");
  await visit.says("#ended tbody tr", /^Completed.*1$/);
});

served("curves_grow_while_it_is_looked_at", {}, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await visit.says("#chart-sessions .value", "1");
  await session.echo(1000000);
  await visit.until(() => / down at most [\d.]+ (k|M)bit\/s/.test(document.querySelector("#chart-throughput .plot").ariaLabel));
  session.socket.destroy();
  await visit.says("#chart-sessions .value", "0");
  await visit.until(() => /open at most 1$/.test(document.querySelector("#chart-sessions .plot").ariaLabel));
});

served("a_session_is_ended_from_the_page_and_no_other", {}, async (visit, relay, echo) => {
  const other = await startEcho();
  try {
    const [one, two] = [await relay.session(echo.port), await relay.session(other.port)];
    await rowOf(visit, `:${echo.port}`).locator("button").click();
    await visit.says("#kill-facts", new RegExp(`Client127\\.0\\.0\\.1:${one.socket.localPort}Target127\\.0\\.0\\.1:${echo.port}`));
    assert.ok(!one.closed);
    await visit.page.locator("#kill-sure").click();
    await one.isClosed();
    await visit.says("#told", /^Ended: the session of 127\.0\.0\.1:\d+ to /);
    await visit.page.mouse.move(5, 5);
    await visit.until(() => document.querySelectorAll("#list tbody tr").length === 1);
    await two.echo(1000);
    const records = await until("its record", () => relay.written());
    assert.deepEqual(records.map(({ reason, target }) => [reason, target]), [["killed", `127.0.0.1:${echo.port}`]]);
    await visit.says("#ended", /Killed[\d.]+1/);
    two.socket.destroy();
  } finally {
    await other.stop();
  }
});

served("all_sessions_of_a_user_are_ended_from_the_page", { users: ["ann", "bob"] }, async (visit, relay, echo) => {
  const anns = [await relay.session(echo.port, "ann"), await relay.session(echo.port, "ann")];
  const bob = await relay.session(echo.port, "bob");
  for (const session of [...anns, bob]) await session.echo(100000);
  await visit.until(() => document.querySelectorAll("#top-users .link:not([hidden])").length === 2);
  await visit.page.locator("#top-users .link", { hasText: "ann" }).click();
  await visit.says("#sessions-count", "2 that match, of 3");
  await visit.page.locator("#end-all").click();
  await visit.page.locator("#kill-sure").click();
  await visit.says("#told", "Ended: 2 sessions.");
  for (const session of anns) await session.isClosed();
  await bob.echo(1000);
  bob.socket.destroy();
});

served("a_filter_that_the_relay_refuses_is_said", { expected: ["400"] }, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 1);
  await visit.page.locator("#filter [name=source]").fill("nonsense");
  await visit.says("#sessions-problem", /nonsense/);
  await visit.page.locator("#filter [name=source]").fill("127.0.0.0/8");
  await visit.says("#sessions-count", "1 that match, of 1");
  await visit.page.locator("#filter [name=target]").fill("192.0.2.1");
  await visit.says("#list-empty", "No session matches.");
  session.socket.destroy();
});

// Each value of each choice is one that the relay knows.
served("the_choices_of_the_page_are_words_of_the_relay", {}, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 1);
  const paths = await visit.page.evaluate(() => {
    const form = document.querySelector("#filter");
    const choices = [...form.querySelectorAll("select")].flatMap((select) => [...select.options].map((option) => [select.name, option.value]));
    const sorts = [...form.elements.sort.options].flatMap(({ value }) => [["sort", value.replace("-", "")], ["sort", "-" + value.replace("-", "")]]);
    return [...choices, ...sorts].filter(([, value]) => value !== "").map((pair) => "/api/v1/sessions?limit=1&" + new URLSearchParams([pair]));
  });
  assert.ok(paths.length > 20);
  for (const path of new Set(paths)) {
    const answer = await fetch(new URL(path, relay.url));
    assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 50)); // the endpoint bounds how often it is asked
  }
  session.socket.destroy();
});

served("the_token_opens_the_page", { token: "a-token-of-some-length", expected: ["401"] }, async (visit) => {
  await visit.says("#state-word", "locked");
  await visit.page.locator("#token-field").fill("another");
  await visit.page.keyboard.press("Enter");
  await visit.says("#token-words", /^This token was not taken/);
  await visit.page.locator("#token-field").fill("a-token-of-some-length");
  await visit.page.keyboard.press("Enter");
  await visit.says("#state-word", "serving");
});

served("the_drain_and_its_undoing_are_said", {}, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await visit.says("#chart-sessions .value", "1");
  const drained = await fetch(new URL("/api/v1/drain", relay.url), { method: "POST" });
  assert.equal(drained.status, 200, await drained.text());
  await visit.says("#banner-text", "Draining: nobody new is let in, 1 session goes on.");
  const undone = await fetch(new URL("/api/v1/drain", relay.url), { method: "DELETE" });
  assert.equal(undone.status, 200, await undone.text());
  await visit.says("#state-word", "serving");
  session.socket.destroy();
});

served("the_end_is_said", { expected: ["ERR_CONNECTION", "ERR_EMPTY"] }, async (visit, relay, echo) => {
  const session = await relay.session(echo.port);
  await visit.says("#chart-sessions .value", "1");
  relay.child.kill("SIGTERM");
  await visit.says("#banner-text", /^Ending: the process goes when its sessions have; 1 session goes on\.$/);
  await session.echo(1000);
  session.socket.destroy();
  await relay.ended;
  await visit.says("#state-word", "lost");
});

for (const colorScheme of ["light", "dark"]) {
  served(`axe_finds_nothing_serious_${colorScheme}`, { colorScheme, bypassCSP: true }, async (visit, relay, echo) => {
    const session = await relay.session(echo.port);
    await visit.until(() => document.querySelectorAll("#list tbody tr").length === 1);
    await visit.isAccessible();
    session.socket.destroy();
  });
}
