"use strict";

// What /api/v1/stats says, as tables. Amounts are as the relay counts them; rates that it does not give are those since
// the answer before.
const tables = (() => {
  const WINDOW = 10; // answers that a rate of these tables reaches back over
  const CLOSE_S = 0.5;

  const table = (id, columns) => new dom.Rows(dom.at(id).tBodies[0], columns);
  const tally = [{ name: "what" }, { name: "now", as: "num" }, { name: "total", as: "num" }];

  const facts = [
    ["Version", (s) => s.version],
    ["Up for", (s) => format.age(s.uptime_s * 1e3)],
    ["Listens on", (s) => (s.listeners?.length ? s.listeners.join(", ") : "nothing")],
    ["Relay", (s) => s.relay],
    ["Log", (s) => s.log_level],
    ["CPU", (s, before) => cpu(s, before)],
    ["Memory", (s) => format.bytes(s.process?.rss_bytes)],
    ["Descriptors", (s) => format.count(s.process?.open_fds) + " of " + format.count(s.process?.max_fds)],
    ["Threads", (s) => format.count(s.process?.threads)],
    ["Relayed", (s) => format.bytes(relayed(s, "down")) + " down, " + format.bytes(relayed(s, "up")) + " up"],
  ];

  const phases = [
    ["handshake", "Handshake"],
    ["auth", "Login"],
    ["dns", "Name lookup"],
    ["connect", "Connect"],
    ["first_byte", "First byte"],
    ["session", "Whole session"],
    ["delay", "Delay to service"],
    ["turn", "Turn of a worker"],
  ];

  const refused = {
    denied_special_purpose: "Special-purpose",
    denied_machine: "This machine",
    denied_listener: "Not at this listener",
    denied_own_listener: "The relay's own listener",
    denied_own_port: "The relay's own port",
    denied_rule: "By rule",
    denied_default: "By no rule allowed",
    denied_foreign_peer: "Foreign peer of BIND",
    denied_per_source: "Source at its limit",
    denied_limit_connections: "Limit of sessions",
    denied_no_pool: "No such egress pool",
    denied_limit_associations: "Limit of associations",
    denied_limit_new_sessions: "Limit of new sessions",
    denied_quota: "Quota used up",
    denied_turned_away: "Source far past it",
    denied_unrecorded: "No room for its record",
    closed_auth_failed: "Wrong credentials",
    closed_tls: "No TLS, or none where it is spoken",
    closed_no_method: "No acceptable method",
    closed_protocol: "Not SOCKS",
    closed_http: "An HTTP request",
    closed_protection: "Protection refused",
  };

  const ended = {
    closed_completed: "Completed",
    closed_denied: "Denied",
    closed_client_reset: "Client reset",
    closed_target_reset: "Target reset",
    closed_idle: "Idle",
    closed_half_close: "Half closed too long",
    closed_client_left: "Client left early",
    closed_handshake_timeout: "Handshake too slow",
    closed_dns_failed: "No usable address",
    closed_connect_failed: "Not reached",
    closed_no_local_port: "No local port left",
    closed_connect_timeout: "No answer in time",
    closed_parent_failed: "Parent away",
    closed_bad_response: "No response of HTTP",
    closed_associate_failed: "No association",
    closed_killed: "Killed",
    closed_revoked: "Denied by new rules",
    closed_quota: "Quota used up",
    closed_drained: "Drained",
    closed_internal: "Our own fault",
  };

  const drops = {
    udp_dropped_stranger: "Stranger",
    udp_dropped_header: "Bad header",
    udp_dropped_seal: "Bad seal",
    udp_dropped_fragment: "Fragment",
    udp_dropped_denied: "Denied",
    udp_dropped_loop: "Loop",
    udp_dropped_name: "Name",
    udp_dropped_queue: "Queue full",
    udp_dropped_oversize: "Too large",
    udp_dropped_unreachable: "Unreachable",
    udp_dropped_blocked: "Socket full",
    udp_dropped_filtered: "Filtered",
    udp_dropped_no_client: "No client yet",
    udp_dropped_limit: "Limit",
  };

  const faults = {
    pipe_fallbacks: "No pipe, so copied",
    no_local_port: "No local port",
    accept_paused: "Accepting paused",
    shed: "Waited too long, so reset",
    stalls: "Stalled turns",
    worker_panics: "Panics of workers",
    records_lost: "Records lost",
    needs_lost: "Needs lost",
    log_lines_lost: "Log lines lost",
  };
  // Faults that cost somebody something each time.
  const GRAVE = ["no_local_port", "accept_paused", "shed", "stalls", "worker_panics", "records_lost", "log_lines_lost"];

  // Counters of this beginning that have no words here are shown by their own name.
  const withOthers = (words, prefix, counters) => {
    const others = Object.keys(counters).filter((key) => key.startsWith(prefix) && !(key in words));
    return [...Object.entries(words), ...others.map((key) => [key, format.words(key.slice(prefix.length))])];
  };

  const seconds = (s) => Date.parse(s.time) / 1e3;
  const sum = (numbers) => numbers.reduce((all, one) => all + (one ?? 0), 0);
  const relayed = (s, way) =>
    sum(["copy", "splice", "sealed", "tls"].map((engine) => s.counters[`bytes_${way}_${engine}`])) +
    (s.counters["udp_bytes_" + way] ?? 0);

  function cpu(s, before) {
    if (!before || !s.process || !before.process) return format.NONE;
    const passed = seconds(s) - seconds(before);
    return passed > 0 ? format.percent(s.process.cpu_s - before.process.cpu_s, passed) + " of one" : format.NONE;
  }

  const rows = {
    workers: table("workers", [
      { name: "number" },
      { name: "activity", as: "text" },
      { name: "active", as: "wide" },
      { name: "down", as: "num" },
      { name: "up", as: "num" },
      { name: "turn", as: "num" },
      { name: "delay", as: "num" },
    ]),
    phases: table("phases", [
      { name: "what" },
      { name: "count", as: "num less" },
      { name: "p50", as: "num" },
      { name: "p90", as: "num less" },
      { name: "p99", as: "num" },
      { name: "p999", as: "num less" },
      { name: "max", as: "num" },
    ]),
    refused: table("refused", tally),
    rules: table("rules", [{ name: "what" }, { name: "says" }, { name: "now", as: "num" }, { name: "total", as: "num" }]),
    limits: table("limits", [
      { name: "what" },
      { name: "per" },
      { name: "fill", as: "num" },
      { name: "now", as: "num" },
      { name: "total", as: "num less" },
    ]),
    ended: table("ended", tally),
    udp: table("udp", tally),
    engines: table("engines", [
      { name: "what" },
      { name: "down", as: "num" },
      { name: "up", as: "num" },
      { name: "total", as: "num" },
    ]),
    drops: table("drops", tally),
    pipes: table("pipes", [{ name: "what" }, { name: "total", as: "num" }]),
    faults: table("faults", tally),
    pools: table("pools", [
      { name: "what" },
      { name: "serve", as: "num" },
      { name: "alone" },
      { name: "now", as: "num" },
      { name: "fullest", as: "num less" },
    ]),
    parents: table("parents", [
      { name: "what" },
      { name: "serve", as: "num" },
      { name: "alone" },
      { name: "now", as: "num" },
      { name: "failures", as: "num less" },
    ]),
  };

  const past = []; // answers, the newest last

  // A counter's growth a second. A smaller one is of a server that began anew.
  const growth = (read, s, before) => {
    if (!before) return null;
    const passed = seconds(s) - seconds(before);
    const grown = (read(s) ?? 0) - (read(before) ?? 0);
    return passed > 0 && grown >= 0 ? grown / passed : null;
  };

  // What warns: nothing, what grows now, or whatever is there.
  const [CALM, NOW, EVER] = [0, 1, 2];

  function counters(body, entries, s, before, warns = () => CALM) {
    body.draw(
      entries,
      ([key]) => key,
      (cells, [key, words], row) => {
        const total = s.counters[key] ?? 0;
        const now = growth((of) => of.counters[key], s, before);
        dom.say(cells.what, words);
        dom.attribute(cells.what, "title", words);
        dom.say(cells.total, format.count(total));
        if (cells.now) dom.say(cells.now, format.rate(now));
        const level = warns(key);
        row.classList.toggle("zero", total === 0);
        row.classList.toggle("warns", (level === EVER && total > 0) || (level === NOW && now > 0));
      },
    );
  }

  function drawFacts(s, before) {
    const list = dom.at("facts");
    if (!list.firstChild) {
      for (const [words] of facts) {
        const pair = dom.make("div");
        pair.append(dom.make("dt", "", words), dom.make("dd", "", format.NONE));
        list.append(pair);
      }
    }
    facts.forEach(([, read], at) => dom.say(list.children[at].lastChild, String(read(s, before) ?? format.NONE)));
  }

  function drawWorkers(s, before) {
    const workers = s.workers ?? [];
    const most = Math.max(1, ...workers.map((worker) => worker.active));
    const earlier = new Map((before?.workers ?? []).map((worker) => [worker.number, worker]));
    const passed = before ? seconds(s) - seconds(before) : 0;
    const speed = (worker, key) => {
      const was = earlier.get(worker.number)?.[key];
      return passed > 0 && format.known(was) && worker[key] >= was ? (worker[key] - was) / passed : null;
    };
    rows.workers.draw(
      workers,
      (worker) => worker.number,
      (cells, worker, row) => {
        dom.say(cells.number, String(worker.number));
        const activity = worker.stalled ? "stalled: " + worker.activity : worker.activity;
        dom.say(cells.activity, activity);
        dom.attribute(cells.activity, "title", activity);
        row.classList.toggle("bad", worker.stalled);
        if (!cells.active.firstChild) cells.active.append(dom.make("span", "bar", ""));
        dom.say(cells.active.firstChild, format.count(worker.active));
        dom.part(cells.active.firstChild, worker.active / most);
        dom.attribute(cells.active, "title", format.count(worker.sessions_max) + " at most");
        dom.say(cells.down, format.bits(speed(worker, "bytes_down")));
        dom.say(cells.up, format.bits(speed(worker, "bytes_up")));
        dom.say(cells.turn, format.ms(worker.turn_ms?.p99));
        dom.say(cells.delay, format.ms(worker.delay_ms?.p99));
      },
    );
    const all = sum(workers.map((worker) => worker.active));
    const mean = all / Math.max(1, workers.length);
    const above = mean > 0 ? Math.round((most / mean - 1) * 100) : 0;
    const even = workers.length < 2 || all < workers.length ? "" : "fullest +" + above + " % over the mean";
    dom.say(dom.at("balance"), even);
  }

  function drawPhases(s) {
    rows.phases.draw(
      phases,
      ([key]) => key,
      (cells, [key, words], row) => {
        const one = s.latencies?.[key] ?? {};
        dom.say(cells.what, words);
        dom.say(cells.count, format.count(one.count ?? 0));
        for (const name of ["p50", "p90", "p99", "p999", "max"]) {
          dom.say(cells[name], one.count ? format.ms(one[name + "_ms"]) : format.NONE);
        }
        row.classList.toggle("zero", !one.count);
      },
    );
  }

  function drawEngines(s, before) {
    const engines = [
      ["splice", "Splice"],
      ["copy", "Copy"],
      ["sealed", "Sealed"],
      ["tls", "TLS"],
    ];
    rows.engines.draw(
      engines,
      ([key]) => key,
      (cells, [key, words], row) => {
        const read = (way) => (of) => of.counters[`bytes_${way}_${key}`];
        const total = (read("down")(s) ?? 0) + (read("up")(s) ?? 0);
        dom.say(cells.what, words);
        dom.say(cells.down, format.bits(growth(read("down"), s, before)));
        dom.say(cells.up, format.bits(growth(read("up"), s, before)));
        dom.say(cells.total, format.bytes(total));
        row.classList.toggle("zero", total === 0);
      },
    );
  }

  function drawFaults(s, before) {
    const pipes = [
      ["pipes_lent", "Lent, with bytes in them"],
      ["pipes_pooled", "Pooled, empty"],
    ];
    counters(rows.pipes, pipes, s, null);
    // A fault that is counted by cause is shown by the causes that there were.
    const others = Object.keys(s.counters).filter((key) => /^(pipe_fallbacks|accept_paused|shed)_/.test(key) && s.counters[key] > 0);
    const known = Object.entries(faults).filter(([key]) => !others.some((other) => other.startsWith(key)));
    const entries = [...known, ...others.map((key) => [key, format.words(key)])];
    counters(rows.faults, entries, s, before, (key) => (GRAVE.some((one) => key.startsWith(one)) ? EVER : NOW));
  }

  // The rules with the most hits. One that only reports decides nothing: what it says is what it would.
  function drawRules(s, before) {
    const rules = s.rules ?? [];
    dom.at("rules").hidden = rules.length === 0;
    const hits = (name) => (of) => of.rules?.find((rule) => rule.rule === name)?.hits;
    rows.rules.draw(
      rules,
      (rule) => rule.rule,
      (cells, rule, row) => {
        const says = rule.mode === "report" ? "would " + rule.action : (rule.action ?? "gone");
        dom.say(cells.what, rule.rule);
        dom.attribute(cells.what, "title", rule.rule);
        dom.say(cells.says, says);
        dom.say(cells.now, format.rate(growth(hits(rule.rule), s, before)));
        dom.say(cells.total, format.count(rule.hits));
        row.classList.toggle("zero", rule.hits === 0);
      },
    );
  }

  // The fullest limits: what part is used by whoever has the least left, and how often it was reached.
  function drawLimits(s, before) {
    const limits = s.limits ?? [];
    dom.at("limits").hidden = limits.length === 0;
    const reached = (name) => (of) => of.limits?.find((limit) => limit.limit === name)?.reached;
    rows.limits.draw(
      limits,
      (limit) => limit.limit,
      (cells, limit, row) => {
        dom.say(cells.what, limit.limit);
        dom.attribute(cells.what, "title", limit.limit + ", subjects: " + format.count(limit.subjects));
        dom.say(cells.per, limit.per ?? "gone");
        dom.say(cells.fill, format.percent(limit.fill, 1));
        dom.say(cells.now, format.rate(growth(reached(limit.limit), s, before)));
        dom.say(cells.total, format.count(limit.reached));
        row.classList.toggle("zero", !limit.fill && limit.reached === 0);
      },
    );
  }

  // Pools of addresses: how many serve, which do not, the sessions that leave from them, and how near the fullest pair of an
  // address and a target is to its last port.
  function drawPools(s) {
    const pools = s.egress ?? [];
    dom.at("pools").hidden = pools.length === 0;
    rows.pools.draw(
      pools,
      (pool) => pool.egress,
      (cells, pool, row) => {
        const states = pool.addresses ?? {};
        const alone = ["cooled", "probed", "drained"].filter((state) => states[state] > 0).map((state) => format.count(states[state]) + " " + state);
        dom.say(cells.what, pool.egress);
        dom.attribute(cells.what, "title", pool.egress + ", by " + pool.select);
        dom.say(cells.serve, format.count(states.serving) + " of " + format.count(sum(Object.values(states))));
        dom.say(cells.alone, alone.join(", "));
        dom.say(cells.now, format.count(pool.sessions_active));
        dom.say(cells.fullest, format.percent(pool.fullest_ports, pool.ports_max));
        row.classList.toggle("warns", alone.length > 0 || pool.fullest_ports > 0.9 * pool.ports_max);
        row.classList.toggle("zero", alone.length === 0 && !pool.sessions_active);
      },
    );
  }

  // Parents: how many of their servers are up, which are not, the sessions that go through them, and how often one fails now.
  function drawParents(s, before) {
    const parents = s.parents ?? [];
    dom.at("parents").hidden = parents.length === 0;
    const failures = (name) => (of) => sum(Object.values(of.parents?.find((parent) => parent.parent === name)?.failures ?? {}));
    rows.parents.draw(
      parents,
      (parent) => parent.parent,
      (cells, parent, row) => {
        const states = parent.servers ?? {};
        const alone = ["down", "drained"].filter((state) => states[state] > 0).map((state) => format.count(states[state]) + " " + state);
        const failing = growth(failures(parent.parent), s, before);
        dom.say(cells.what, parent.parent);
        dom.attribute(cells.what, "title", parent.parent + ", by " + parent.select);
        dom.say(cells.serve, format.count((states.up ?? 0) + (states.backup ?? 0)) + " of " + format.count(sum(Object.values(states))));
        dom.say(cells.alone, alone.join(", "));
        dom.say(cells.now, format.count(parent.sessions_active));
        dom.say(cells.failures, format.rate(failing));
        row.classList.toggle("warns", alone.length > 0 || failing > 0);
        row.classList.toggle("zero", alone.length === 0 && !parent.sessions_active);
      },
    );
  }

  function drawUdp(s, before) {
    const c = s.counters;
    dom.say(dom.at("associations"), format.count(c.udp_associations ?? 0) + " associations");
    const flows = [
      ["udp_datagrams_down", "Down"],
      ["udp_datagrams_up", "Up"],
    ];
    counters(rows.udp, flows, s, before);
    counters(rows.drops, withOthers(drops, "udp_dropped_", c), s, before, () => NOW);
  }

  function draw(s) {
    s.counters ??= {};
    const passed = past.length > 0 ? seconds(s) - seconds(past.at(-1)) : 0;
    if (passed < 0) past.length = 0;
    // Two answers that are close together make no rate: the second stands for both.
    if (past.length > 1 && passed < CLOSE_S) past.pop();
    const [last, before] = [past.at(-1), past[0]];
    past.push(s);
    if (past.length > WINDOW) past.shift();
    drawFacts(s, last);
    drawWorkers(s, last);
    drawPhases(s);
    drawEngines(s, last);
    drawFaults(s, before);
    const causes = withOthers(refused, "denied_", s.counters);
    counters(rows.refused, causes, s, before, () => NOW);
    const reasons = withOthers({ ...refused, ...ended }, "closed_", s.counters).filter(([key]) => !(key in refused));
    counters(rows.ended, reasons, s, before, (key) => (key === "closed_internal" ? EVER : CALM));
    drawUdp(s, before);
    drawRules(s, before);
    drawLimits(s, before);
    drawPools(s);
    drawParents(s, before);
  }

  return { draw, forget: () => (past.length = 0) };
})();
