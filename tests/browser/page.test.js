// The page against an endpoint that is made up: what it draws, says and asks for, with no session and with many, under
// good names and bad ones.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { Mock, HOSTILE, KINDS } = require("./mock.js");
const { Visit, close, PHONE } = require("./browser.js");

after(close);

// A test with an endpoint of its own and a visit to it; at the end nothing must have gone wrong.
function seen(name, kind, options, act) {
  test(name, async () => {
    const mock = await new Mock({ ...KINDS[kind] }).start();
    options.before?.(mock);
    const visit = await Visit.to(mock.url, options);
    try {
      await act(visit, mock, visit.page);
      if (!options.bypassCSP) await visit.isClean();
    } finally {
      await visit.end();
      await mock.stop();
    }
  });
}

const asked = (mock, beginning) => mock.asked.filter((line) => line.startsWith(beginning));
const listed = (mock) => asked(mock, "GET /api/v1/sessions").at(-1);

async function isAskedFor(mock, part) {
  const end = Date.now() + 15000;
  while (!listed(mock)?.includes(part)) {
    assert.ok(Date.now() < end, `${part} was not asked for, but ${listed(mock)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// ---- what is drawn

seen("everything_is_drawn", "few", {}, async (visit, mock, page) => {
  await visit.says("#state-word", "serving");
  await visit.says("#chart-throughput .value", /^[\d.]+ Gbit\/s$/);
  await visit.says("#chart-sessions .value", "7");
  await visit.says("#sessions-count", "7");
  await visit.says("#facts", /Version0\.1\.0.*Up for2 d 02 h.*Memory214 MB/);
  await visit.says("#top-users li .link", "ann");
  assert.equal(await page.locator("#workers tbody tr").count(), 4);
  assert.equal(await page.locator("#phases tbody tr").count(), 8);
  assert.match(await visit.text("#phases tbody tr:nth-child(4)"), /^Connect18,00011\.8 ms24\.8 ms70\.8 ms248 ms708 ms$/);
  await visit.says("#rules tbody tr", /^no-adswould deny/);
  await visit.says("#limits tbody tr", /^basicuser\d+(\.\d)? %/);
  await visit.says("#pools tbody tr", /^fleet6 of 81 cooled, 1 drained\d+\d+(\.\d)? %/);
  await visit.says("#parents tbody tr", /^uplink3 of 41 down\d+/);
  await visit.says("#refused tbody tr", /^Special-purpose1\.\d[\d,]+$/);
  await visit.says("#drops tbody tr:nth-child(12)", /^Filtered11[\d,]+$/);
  await visit.says("#engines tbody tr", /^Splice1\.76 Gbit\/s72\.0 Mbit\/s[\d.]+ TB$/);
  assert.equal(await page.locator(".banner:visible").count(), 0);
  assert.equal(await visit.rows(), 7);
});

seen("curves_are_curves", "few", {}, async (visit, mock, page) => {
  await visit.says("#chart-throughput .value", /Gbit/);
  const colours = () =>
    [...document.querySelectorAll(".plot canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const blue = (at) => data[at + 3] > 200 && data[at + 2] > data[at] + 60;
      return data.filter((_, at) => at % 4 === 0 && blue(at)).length;
    });
  await visit.until(() => document.querySelectorAll(".plot canvas").length === 4);
  await visit.twoTurns();
  for (const drawn of await page.evaluate(colours)) assert.ok(drawn > 300, `only ${drawn} pixels are drawn`);
  const words = await page.locator("#chart-throughput .plot").getAttribute("aria-label");
  assert.match(words, /^Throughput, the last 15 minutes: down at most [\d.]+ Gbit\/s, up at most [\d.]+ Mbit\/s$/);
  // With the pointer on one curve all say what was then.
  await page.locator("#chart-sessions .u-over").hover({ position: { x: 60, y: 40 } });
  await visit.says("#chart-throughput .when", / ago$/);
  await page.mouse.move(5, 5);
  await visit.says("#chart-throughput .when", "now");
});

seen("numbers_move", "few", {}, async (visit, mock) => {
  await visit.says("#state-word", "serving");
  const before = await visit.text("#ended tbody tr");
  await visit.until((before) => document.querySelector("#ended tbody tr").textContent !== before, before);
  mock.sessions = mock.sessions.slice(0, 3);
  await visit.says("#chart-sessions .value", "3");
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 3);
});

seen("with_no_session_it_says_so", "none", {}, async (visit) => {
  await visit.says("#list-empty", "No session is open.");
  await visit.says("#top-users", /nobody yet/);
  await visit.says("#chart-throughput .value", "0 bit/s");
  await visit.says("#phases tbody tr", /^Handshake0–––––$/);
});

seen("of_20000_sessions_the_first_hundred_are_asked_for", "many", {}, async (visit, mock) => {
  await visit.says("#sessions-count", "100 of 20,000");
  assert.equal(await visit.rows(), 100);
  assert.match(listed(mock), /\?sort=-age&limit=100$/);
  await visit.twoTurns();
  assert.equal(await visit.rows(), 100);
});

seen("nothing_jumps_when_numbers_change", "few", {}, async (visit, mock, page) => {
  await visit.says("#state-word", "serving");
  await visit.twoTurns();
  const places = () =>
    page.evaluate(() => [...document.querySelectorAll(".card, h2, h3, thead th")].map((e) => Object.values(e.getBoundingClientRect().toJSON()).map(Math.round).join()));
  const before = await places();
  const counters = mock.counters.bind(mock);
  mock.counters = (elapsed) => Object.fromEntries(Object.entries(counters(elapsed)).map(([key, value]) => [key, value * 4321]));
  for (const session of mock.sessions) Object.assign(session, { user: "u".repeat(90), bytes_up: 1e15, rate_up: 1e9 });
  mock.state = { rates: { accepted: 1.2e6, bytes_down: 9.9e11, bytes_up: 0, refused: 88888 }, uptime_s: 183000 };
  await visit.says("#chart-new .value", "1.20 M");
  await visit.twoTurns();
  assert.deepEqual(await places(), before);
});

seen("what_is_counted_and_has_no_words_here_is_shown_by_its_name", "few", {}, async (visit, mock) => {
  const counters = mock.counters.bind(mock);
  mock.counters = (elapsed) => ({ ...counters(elapsed), udp_dropped_odd_thing: 5, closed_moved_on: 6, accept_paused_memory: 7 });
  await visit.says("#drops tbody tr:last-child", /^Odd thing05$/);
  await visit.says("#ended tbody tr:last-child", /^Moved on06$/);
  await visit.says("#faults tbody tr:last-child", /^Accept paused memory07$/);
});

seen("what_is_not_known_is_no_number", "few", {}, async (visit, mock) => {
  mock.state = { process: { cpu_s: null, rss_bytes: null, open_fds: null, max_fds: null, threads: null }, latencies: {}, rates: { bytes_down: null } };
  await visit.says("#chart-throughput .value", "–");
  await visit.twoTurns();
  assert.doesNotMatch(await visit.text("main"), /NaN|undefined|null|Infinity/);
});

// ---- names that clients chose

for (const [where, options] of [["desk", {}], ["phone", { viewport: PHONE, touch: true }]]) {
  seen(`a_name_is_text_whatever_it_says_${where}`, "hostile", options, async (visit, mock, page) => {
    await visit.says("#sessions-count", "24");
    await visit.twoTurns();
    const shown = await page.locator("#list tbody").textContent();
    assert.ok(shown.includes("<script>window.pwned = 1</script>") && shown.includes("<img src=x onerror=window.pwned=1>"));
    assert.ok(shown.includes("admin\\u{202e}gpj.exe") && shown.includes("zero\\u{200b}width\\u{7}bell\\u{a}line"));
    assert.doesNotMatch(await page.locator("body").textContent(), /[\u202e\u200b\u0007]/);
    await page.locator("#list tbody tr .small").first().click();
    await visit.until(() => document.querySelector("#kill").open);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await page.locator("#main img, #main svg, #main script, #kill img, #kill svg, #kill script").count(), 0);
    await visit.isNoWiderThanItsWindow();
    await page.keyboard.press("Escape");
    // A name of 255 characters does not push what stands beside it away.
    const widths = await page.locator("#list tbody tr .end button").evaluateAll((all) => all.map((e) => e.getBoundingClientRect().right));
    assert.ok(widths.every((right) => Math.abs(right - widths[0]) < 1), widths.join());
  });
}

seen("a_hostile_user_can_be_chosen_and_ended", "hostile", {}, async (visit, mock, page) => {
  await page.locator("#top-users .link").first().click();
  await isAskedFor(mock, new URLSearchParams({ user: HOSTILE[0] }).toString());
  await visit.says("#end-all", "End these 2…");
  await page.locator("#end-all").click();
  await visit.says("#kill-facts", "User" + HOSTILE[0]);
  await page.locator("#kill-sure").click();
  await visit.says("#told", "Ended: 2 sessions.");
  await visit.says("#list-empty", "No session matches.");
  assert.equal(mock.sessions.length, 22);
});

// ---- the list

seen("sessions_are_filtered_and_sorted_by_the_server", "many", {}, async (visit, mock, page) => {
  await page.locator("#filter [name=user]").fill("ann");
  await isAskedFor(mock, "user=ann");
  await visit.says("#sessions-count", /^100 of [\d,]+ that match, of 20,000$/);
  await page.locator("#filter [name=state]").selectOption("relaying");
  await isAskedFor(mock, "user=ann&state=relaying");
  await page.locator("#filter [name=min_age]").selectOption("1m");
  await page.locator("#filter [name=min_rate]").selectOption("1250000");
  await isAskedFor(mock, "min_age=1m&min_rate=1250000");
  await page.getByRole("button", { name: "Rate" }).click();
  await isAskedFor(mock, "sort=-rate");
  await page.getByRole("button", { name: "Rate" }).click();
  await isAskedFor(mock, "sort=rate");
  assert.equal(await page.locator("th[aria-sort]").getAttribute("aria-sort"), "ascending");
  await page.getByRole("button", { name: "Clear" }).click();
  await isAskedFor(mock, "sessions?sort=-age&limit=100");
});

seen("a_filter_that_the_server_refuses_is_said", "few", { expected: ["400"] }, async (visit, mock, page) => {
  await page.locator("#filter [name=source]").fill("bad");
  await visit.says("#sessions-problem", "source=bad is neither an address nor a CIDR block");
  await visit.says("#state-word", "serving");
  await page.locator("#filter [name=source]").fill("");
  await visit.says("#sessions-problem", "");
});

seen("rows_stay_where_they_are_while_one_is_aimed_at", "few", {}, async (visit, mock, page) => {
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 7);
  const order = () => page.locator("#list tbody tr .end button").evaluateAll((all) => all.map((e) => e.value));
  const before = await order();
  await page.locator("#list tbody tr").nth(2).hover();
  for (const session of mock.sessions) session.age_ms = 1e9 - session.age_ms;
  const gone = mock.sessions.find((session) => session.id === before[4]);
  mock.sessions = mock.sessions.filter((session) => session !== gone);
  await visit.until(() => document.querySelectorAll("#list tbody tr.gone").length === 1);
  assert.deepEqual(await order(), before);
  assert.ok(await page.locator("#sessions-held").isVisible());
  await page.mouse.move(5, 5);
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 6);
  assert.deepEqual(await order(), before.filter((id) => id !== gone.id).reverse());
});

// ---- ending a session

seen("a_session_ends_only_when_it_was_asked_for_twice", "few", {}, async (visit, mock, page) => {
  await page.locator("#list tbody tr .small").nth(1).click();
  await visit.until(() => document.querySelector("#kill").open);
  const id = await page.locator("#list tbody tr .small").nth(1).getAttribute("value");
  await visit.says("#kill-facts", new RegExp(`Id${id}$`));
  await page.getByRole("button", { name: "Leave it" }).click();
  await visit.until(() => !document.querySelector("#kill").open);
  assert.deepEqual(asked(mock, "DELETE"), []);
  await page.locator("#list tbody tr .small").nth(1).click();
  await page.locator("#kill-sure").click();
  await visit.says("#told", /^Ended: the session of /);
  await visit.until((id) => ![...document.querySelectorAll("#list .small")].some((e) => e.value === id && !e.closest(".gone")), id);
  assert.deepEqual(asked(mock, "DELETE"), [`DELETE /api/v1/sessions/${id}`]);
  assert.equal(mock.sessions.length, 6);
});

seen("a_session_that_is_gone_by_then_is_said_to_be", "few", { expected: ["404"] }, async (visit, mock, page) => {
  await page.locator("#list tbody tr .small").first().click();
  await visit.until(() => document.querySelector("#kill").open);
  mock.sessions = [];
  await page.locator("#kill-sure").click();
  await visit.says("#kill-problem", "It is not there any more.");
});

// ---- states

const states = [
  ["draining", { state: "draining", ready: false, not_ready: "draining" }, /^Draining: nobody new is let in, 7 sessions go on\.$/],
  ["ending", { state: "ending", ready: false }, /^Ending: the process goes when its sessions have/],
  ["not ready", { ready: false, not_ready: "at the ceiling" }, /^Not ready: at the ceiling\.$/],
  ["not alive", { alive: false, workers: [{ number: 1, active: 3, activity: "dispatching", stalled: true }] }, /^Not alive: worker 1 stands in one turn \(dispatching\)\.$/],
];
for (const [word, fields, words] of states) {
  seen(`${word.replace(" ", "_")}_is_said`, "few", {}, async (visit, mock, page) => {
    await visit.says("#state-word", "serving");
    mock.state = fields;
    await visit.says("#banner-text", words);
    await visit.says("#state-word", word);
    assert.match(await page.title(), new RegExp(word));
    mock.state = {};
    await visit.says("#state-word", "serving");
    assert.ok(await page.locator("#banner").isHidden());
  });
}

seen("an_endpoint_that_is_gone_is_said_and_asked_again", "few", { expected: ["ERR_EMPTY_RESPONSE"] }, async (visit, mock, page) => {
  await visit.says("#state-word", "serving");
  mock.answers = false;
  await visit.says("#state-word", "lost");
  await visit.says("#banner-text", /^No word from the endpoint since \d\d:\d\d:\d\d: no connection\. Trying again\.$/);
  assert.match(await page.title(), /^lost/);
  mock.answers = true;
  await visit.says("#state-word", "serving");
  assert.ok(await page.locator("#banner").isHidden());
});

seen("an_endpoint_that_is_too_busy_is_asked_less", "few", { expected: ["503"] }, async (visit, mock) => {
  await visit.says("#state-word", "serving");
  mock.refuse = [503, "worker 1 does not answer"];
  await visit.says("#banner-text", /: worker 1 does not answer\. Trying again\.$/);
  mock.refuse = null;
  await visit.says("#state-word", "serving");
});

seen("a_tab_that_nobody_sees_asks_for_nothing", "few", {}, async (visit, mock, page) => {
  await visit.says("#state-word", "serving");
  const hide = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await hide(true);
  await page.waitForTimeout(700); // a look that was on its way
  const before = mock.asked.length;
  await page.waitForTimeout(2500);
  assert.equal(mock.asked.length, before);
  await hide(false);
  await visit.twoTurns();
  assert.ok(mock.asked.length > before);
});

// ---- who may

const locked = { expected: ["401"], before: (mock) => (mock.token = "right-token") };
seen("the_token_is_asked_for_and_kept_for_the_tab", "few", locked, async (visit, mock, page) => {
  await visit.says("#state-word", "locked");
  assert.equal(await page.evaluate(() => document.activeElement.id), "token-field");
  await page.keyboard.type("wrong-token");
  await page.keyboard.press("Enter");
  await visit.says("#token-words", /^This token was not taken/);
  await page.locator("#token-field").fill("two words");
  await page.keyboard.press("Enter");
  await visit.says("#token-words", /neither spaces nor letters/);
  await page.locator("#token-field").fill("right-token");
  await page.keyboard.press("Enter");
  await visit.says("#state-word", "serving");
  assert.ok(await page.locator("#token").isHidden());
  await page.reload();
  await visit.says("#state-word", "serving");
  assert.ok(visit.requests.every((url) => !url.includes("token")), "a token in an address");
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  await page.getByRole("button", { name: "Forget the token" }).click();
  await visit.says("#state-word", "locked");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

const forbidden = { expected: ["403"], before: (mock) => (mock.refuse = [403, "your uid is not that of the relay: set token_file"]) };
seen("who_may_not_is_told_why", "few", forbidden, async (visit) => {
  await visit.says("#banner-text", "Not allowed: your uid is not that of the relay: set token_file.");
  await visit.says("#state-word", "not allowed");
});

// ---- keys, screens, readers

seen("everything_is_reached_by_keys", "few", {}, async (visit, mock, page) => {
  await visit.until(() => document.querySelectorAll("#list tbody tr").length === 7);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  await visit.until(() => document.activeElement.id === "sessions");
  const reached = new Set();
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    const [what, outlined] = await page.evaluate(() => {
      const e = document.activeElement;
      return e === document.body ? [null] : [e.name || e.textContent || e.id, getComputedStyle(e).outlineStyle !== "none"];
    });
    if (what === null) break; // past the last one
    assert.ok(outlined, `the focus on ${what} cannot be seen`);
    reached.add(what);
  }
  for (const what of ["user", "source", "target", "command", "state", "min_age", "min_rate", "Clear", "Rate", "End…"]) {
    assert.ok(reached.has(what), `${what} is not among ${[...reached]}`);
  }
  await page.locator("#list .small").nth(2).focus();
  await page.keyboard.press("Enter");
  await visit.until(() => document.querySelector("#kill").open);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Leave it");
  await page.keyboard.press("Escape");
  await visit.until(() => document.activeElement.textContent === "End…");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await visit.says("#told", /^Ended: /);
});

for (const width of [320, 360, 600, 768, 1024, 1920]) {
  const options = { viewport: { width, height: 800 } };
  seen(`no_sideways_scrolling_at_${width}`, "few", options, async (visit, mock, page) => {
    await visit.until(() => document.querySelectorAll("#list tbody tr").length === 7);
    await visit.isNoWiderThanItsWindow();
    if (width > 400) return;
    const columns = await page.locator(".charts").evaluate((e) => getComputedStyle(e).gridTemplateColumns.split(" ").length);
    assert.equal(columns, 1);
  });
}

for (const [name, options] of [
  ["light", {}],
  ["dark", { colorScheme: "dark" }],
  ["phone", { viewport: PHONE }],
  ["dark_phone", { viewport: PHONE, colorScheme: "dark" }],
]) {
  const judged = { ...options, bypassCSP: true };
  seen(`axe_finds_nothing_serious_${name}`, "hostile", judged, async (visit, mock, page) => {
    await visit.says("#sessions-count", "24");
    mock.state = { state: "draining", ready: false };
    await visit.says("#state-word", "draining");
    await visit.isAccessible();
    await page.locator("#list .small").first().click();
    await visit.isAccessible();
  });
  const shut = { ...judged, ...locked };
  seen(`axe_finds_nothing_serious_where_a_token_is_asked_for_${name}`, "few", shut, async (visit) => {
    await visit.says("#state-word", "locked");
    await visit.isAccessible();
  });
}
