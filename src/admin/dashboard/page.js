"use strict";

// The page's clock: what is asked when, and what state the relay is in.
(() => {
  const TURN_MS = 1000;
  const WAIT_MAX_S = 10;
  const HISTORY_POINTS_A_TURN = 180; // a longer history moves less in a second, and is asked for less often
  const BUSIEST_TURNS = 3;

  // ---- the state of the relay, and of our connection to it

  const kinds = { serving: "ok", draining: "warn", ending: "warn", "not ready": "warn", "not alive": "bad", lost: "bad" };
  let seen = null; // when the last answer came

  function state(word, words) {
    const kind = kinds[word] ?? "unknown";
    dom.say(dom.at("state-word"), word);
    dom.attribute(dom.at("state"), "data-state", kind);
    const banner = dom.at("banner");
    dom.say(dom.at("banner-text"), words);
    dom.attribute(banner, "data-kind", kind);
    banner.hidden = words === "";
    document.body.classList.toggle("stale", word === "lost");
    document.body.classList.toggle("shut", word === "locked" || word === "not allowed");
    const title = word === "serving" ? "outflow" : word + " · outflow";
    if (document.title !== title) document.title = title;
  }

  function stateOf(s) {
    const still = (s.workers ?? []).filter((worker) => worker.stalled);
    const open = format.count(s.counters.active) + (s.counters.active === 1 ? " session goes on" : " sessions go on");
    if (s.alive === false) {
      const which = still.map((worker) => "worker " + worker.number + " stands in one turn (" + worker.activity + ")");
      return ["not alive", "Not alive: " + (which.join("; ") || s.not_ready || "a worker stands still") + "."];
    }
    if (s.state === "draining") return ["draining", "Draining: nobody new is let in, " + open + "."];
    if (s.state === "ending") return ["ending", "Ending: the process goes when its sessions have; " + open + "."];
    if (s.ready === false) return ["not ready", "Not ready: " + (s.not_ready ?? "no reason is given") + "."];
    const older = (s.older ?? []).map((one) => {
      const process = one.pid === null ? "an older version" : "process " + one.pid;
      return process + " (" + format.count(one.sessions) + (one.sessions === 1 ? " session" : " sessions") + ")";
    });
    return ["serving", older.length === 0 ? "" : "Behind a hand-over older servers come to their end: " + older.join(", ") + "."];
  }

  function lost(words) {
    const since = seen === null ? "" : " since " + format.clock(seen);
    state("lost", "No word from the endpoint" + since + ": " + words + ". Trying again.");
  }

  // ---- who may

  const token = dom.at("token");
  const field = dom.at("token-field");

  function askForToken() {
    const words = api.hasToken() ? "This token was not taken. The endpoint's token:" : "This endpoint asks for its token.";
    dom.say(dom.at("token-words"), words);
    if (!token.hidden) return;
    token.hidden = false;
    field.focus();
  }

  token.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = field.value.trim();
    // A header carries no others; the endpoint's file holds none.
    if (!/^[\x21-\x7e]+$/.test(given)) return dom.say(dom.at("token-words"), "A token has neither spaces nor letters beyond ASCII.");
    field.value = "";
    api.keepToken(given);
    token.hidden = true;
    soon();
  });
  dom.at("forget").addEventListener("click", () => {
    api.keepToken("");
    location.reload();
  });

  // Whether the failure is one that asking again does not mend.
  function refused(error) {
    if (error.status === 401) {
      state("locked", "");
      askForToken();
      return true;
    }
    if (error.status === 403) {
      state("not allowed", "Not allowed: " + error.message.replace(/\.$/, "") + ".");
      return true;
    }
    return false;
  }

  // ---- the clock

  const due = { history: 0, busiest: 0 };
  let turn = 0;
  let timer = 0;
  let running = false;
  let another = false;
  let misses = 0;

  async function part(path, draw, failed) {
    try {
      draw(await api.ask(path));
      failed("");
    } catch (error) {
      if (!(error instanceof api.Failure)) throw error;
      failed(error.message);
    }
  }

  async function look() {
    const s = await api.ask("stats");
    seen = new Date();
    misses = 0;
    token.hidden = true;
    dom.at("forget").hidden = !api.hasToken();
    tables.draw(s);
    charts.stats(s);
    state(...stateOf(s));
    dom.say(dom.at("updated"), format.clock(seen));
    const parts = [part(sessions.path(), sessions.draw, sessions.problem)];
    if (turn >= due.busiest) {
      due.busiest = turn + BUSIEST_TURNS;
      parts.push(part(busiest.path(), busiest.draw, (words) => dom.say(dom.at("busiest-problem"), words)));
    }
    if (turn >= due.history) {
      parts.push(
        part("history", (past) => {
          due.history = turn + Math.max(1, Math.ceil(charts.history(past) / HISTORY_POINTS_A_TURN));
        }, () => {}),
      );
    }
    await Promise.all(parts);
    turn += 1;
  }

  // How long until the next look, after one that failed.
  function after(error) {
    if (!(error instanceof api.Failure)) throw error;
    if (refused(error)) return WAIT_MAX_S * 1000;
    misses += 1;
    // The tables' rates and the curves begin anew with the next answer.
    tables.forget();
    due.history = due.busiest = 0;
    lost(error.message);
    return Math.max(error.wait_s ?? 0, Math.min(WAIT_MAX_S, misses)) * TURN_MS;
  }

  async function tick() {
    if (running) {
      another = true;
      return;
    }
    clearTimeout(timer);
    if (document.hidden) return;
    running = true;
    const began = performance.now();
    let wait = TURN_MS;
    try {
      await look();
      wait = Math.max(TURN_MS / 4, TURN_MS - (performance.now() - began));
    } catch (error) {
      wait = after(error);
    } finally {
      running = false;
      clearTimeout(timer);
      timer = setTimeout(tick, another ? 0 : wait);
      another = false;
    }
  }

  const soon = () => tick();

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return clearTimeout(timer);
    // What was not looked at has no rate.
    tables.forget();
    due.history = due.busiest = 0;
    soon();
  });
  sessions.onChange(soon);
  busiest.onChange(() => {
    due.busiest = 0;
    soon();
  });
  busiest.onChoice(sessions.only);
  soon();
})();
