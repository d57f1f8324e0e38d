// A relay's admin endpoint as the dashboard sees it, with as many sessions and as bad names as a test wants. It serves
// the page from its parts, as the relay does, and knows nothing of the relay.
//
//     node tests/browser/mock.js 9180 [none|few|many|hostile]     # to look at it in a browser
"use strict";

const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const path = require("node:path");

const parts = path.join(__dirname, "../../src/admin/dashboard");
const read = (name) => readFileSync(path.join(parts, name), "utf8");
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

// The page as one text, and its policy.
function page() {
  const hashes = { script: [], style: [] };
  const put = (kind, name) => {
    const text = read(name);
    hashes[kind].push(hash(text));
    return `<${kind}>${text}</${kind}>`;
  };
  const html = read("page.html")
    .replace(/<link rel="stylesheet" href="([^"]+)">/g, (_, name) => put("style", name))
    .replace(/<script src="([^"]+)"><\/script>/g, (_, name) => put("script", name));
  const csp = [
    "default-src 'none'",
    "connect-src 'self'",
    "img-src data:",
    `script-src ${hashes.script.join(" ")}`,
    `style-src ${hashes.style.join(" ")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ];
  return { html, csp: csp.join("; ") };
}

// ---- numbers that look like a gateway's, the same in every run

function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const HOSTILE = [
  "<script>window.pwned = 1</script>",
  "<img src=x onerror=window.pwned=1>",
  "\"><svg onload=window.pwned=1>",
  "javascript:window.pwned=1",
  "admin\u202Egpj.exe",
  "مدير الشبكة",
  "zero\u200Bwidth\u0007bell\nline",
  "👩‍👩‍👧‍👦🏴‍☠️",
  "x".repeat(255),
  "ｆｕｌｌ ｗｉｄｔｈ " + "漢".repeat(80),
  "__proto__",
  "constructor",
];

const USERS = ["ann", "bob", "carol", "crawler-eu-1", "crawler-us-2", "dave", "erin", "ingest", null];
const TARGETS = ["example.com:443", "cdn.example.net:443", "api.example.org:443", "198.51.100.7:443", "mail.example.com:993", "[2001:db8::15]:443", "updates.vendor.example:80", "media-eu-west-1.storage.example.com:443"];
const STATES = ["relaying", "relaying", "relaying", "relaying", "connecting", "associated", "lingering", "handshake"];

function makeSessions(number, names) {
  const next = random(7);
  const pick = (list) => list[Math.floor(next() * list.length)];
  return Array.from({ length: number }, (_, at) => {
    const state = pick(STATES);
    const udp = state === "associated";
    const user = names ? names[at % names.length] : pick(USERS);
    const host = names ? names[(at + 3) % names.length] + ":443" : pick(TARGETS);
    const bytes = Math.floor(10 ** (2 + next() * 8));
    return {
      id: `${(0x1000 + at).toString(16)}-${at}`,
      time: "2026-11-27T21:00:00.000Z",
      worker: at % 4,
      client: at % 5 === 0 ? `[2001:db8:${(at % 999).toString(16)}::${at % 77}]:${40000 + (at % 20000)}` : `10.${at % 7}.${at % 250}.${(at * 7) % 250}:${40000 + (at % 20000)}`,
      listener: "0.0.0.0:1080",
      user,
      method: user === null ? "none" : "password",
      command: udp ? "udp_associate" : "connect",
      target: state === "handshake" ? null : udp ? "0.0.0.0:0" : host,
      address: state === "handshake" || udp ? null : "198.51.100.7:443",
      local: "192.0.2.9:5" + String(at % 10000).padStart(4, "0"),
      rule: ["office", "default", "build-farm"][at % 3],
      verdict: "allow",
      would_deny: at % 11 === 0 ? "no-ads" : null,
      egress: at % 2 === 0 ? "fleet" : null,
      reply: 0,
      engine: udp || state === "handshake" ? null : next() < 0.5 ? "splice" : "copy",
      bytes_up: Math.floor(bytes / 20),
      bytes_down: bytes,
      datagrams_up: udp ? 120 : 0,
      datagrams_down: udp ? 118 : 0,
      handshake_ms: 1,
      dns_ms: 3,
      connect_ms: 12,
      state,
      age_ms: Math.floor(10 ** (2 + next() * 6)),
      idle_ms: Math.floor(next() * 90000),
      rate_up: next() * 2e4,
      rate_down: next() < 0.2 ? 0 : 10 ** (2 + next() * 5),
    };
  });
}

const REASONS = ["completed", "client_reset", "target_reset", "idle", "half_close", "handshake_timeout", "client_left", "protocol", "http", "tls", "no_method", "auth_failed", "protection", "denied", "dns_failed", "connect_failed", "no_local_port", "connect_timeout", "parent_failed", "bad_response", "associate_failed", "drained", "killed", "revoked", "quota", "internal"];
const DROPS = ["stranger", "header", "seal", "fragment", "denied", "loop", "name", "queue", "oversize", "unreachable", "blocked", "filtered", "no_client", "limit"];
const CAUSES = ["special_purpose", "own_listener", "own_port", "rule", "default", "machine", "per_source", "turned_away", "unrecorded", "foreign_peer"];
const OTHERS = ["no_local_port", "accept_paused", "stalls", "worker_panics", "pipe_fallbacks", "records_lost", "log_lines_lost"];

class Mock {
  constructor(options = {}) {
    this.sessions = makeSessions(options.sessions ?? 0, options.names);
    this.names = options.names ?? null;
    this.busy = options.busy ?? this.sessions.length > 0;
    this.state = {}; // what overrides the fields of stats
    this.token = null;
    this.refuse = null; // [status, words] of everything below /api/
    this.answers = true; // else connections are closed without a word
    this.asked = []; // method, path and query of each request
    this.points = options.points ?? 900;
    this.began = Date.now();
    this.page = page();
  }

  counters(elapsed) {
    const load = this.busy ? 1 : 0;
    const n = (perSecond) => Math.floor(perSecond * (elapsed + 5000) * load);
    const c = { accepted: n(312), active: this.sessions.length };
    for (const reason of REASONS) c["closed_" + reason] = 0;
    for (const drop of DROPS) c["udp_dropped_" + drop] = 0;
    for (const cause of CAUSES) c["denied_" + cause] = 0;
    for (const other of OTHERS) c[other] = 0;
    for (const way of ["up", "down"]) for (const engine of ["copy", "splice", "sealed", "tls"]) c[`bytes_${way}_${engine}`] = 0;
    Object.assign(c, {
      closed_completed: n(290), closed_client_reset: n(9), closed_target_reset: n(3.2), closed_idle: n(0.6), closed_denied: n(1.7),
      closed_auth_failed: n(0.4), closed_connect_failed: n(4.1), closed_connect_timeout: n(1.3), closed_dns_failed: n(0.9),
      closed_protocol: n(0.1), denied_special_purpose: n(1.5), denied_per_source: n(0.2), logins_ok: n(280), logins_failed: n(0.4),
      bytes_up_copy: n(3.1e6), bytes_up_splice: n(9e6), bytes_down_copy: n(2.6e7), bytes_down_splice: n(2.2e8),
      udp_associations: load * 84, udp_datagrams_up: n(5200), udp_datagrams_down: n(6100), udp_bytes_up: n(1e6), udp_bytes_down: n(5e6),
      udp_dropped_stranger: n(2), udp_dropped_filtered: n(11), pipes_lent: load * 212, pipes_pooled: load * 40, pipe_fallbacks: n(0.02),
    });
    return c;
  }

  stats() {
    const elapsed = (Date.now() - this.began) / 1000;
    const load = this.busy ? 1 + 0.2 * Math.sin(elapsed / 7) : 0;
    const lat = (p50, count = 18000) => (this.busy ? { count, p50_ms: p50, p90_ms: p50 * 2.1, p99_ms: p50 * 6, p999_ms: p50 * 21, max_ms: p50 * 60 } : { count: 0, p50_ms: null, p90_ms: null, p99_ms: null, p999_ms: null, max_ms: null });
    const turn = (p99) => ({ p50: p99 / 8, p99, max: p99 * 9 });
    const share = [0.26, 0.24, 0.27, 0.23];
    return {
      version: "0.1.0", time: new Date().toISOString(), uptime_s: 183000 + elapsed, state: "serving", ready: true, alive: true, not_ready: null,
      relay: "auto", listeners: ["0.0.0.0:1080", "[::]:1080"], log_level: "info",
      workers: share.map((part, number) => ({
        number, active: Math.round(part * this.sessions.length), accepted: Math.floor(elapsed * 80), sessions_max: 12500,
        activity: this.busy ? ["waiting", "dispatching", "accepting", "waiting"][number] : "waiting", stalled: false,
        bytes_up: Math.floor(elapsed * 3e6 * load), bytes_down: Math.floor((elapsed + 60) * 6.2e7 * (this.busy ? part * 4 : 0)), turn_ms: turn(this.busy ? 0.18 : 0.02), delay_ms: turn(this.busy ? 0.41 + part : 0.03),
      })),
      counters: this.counters(elapsed),
      rules: [["no-ads", "deny", "report", 3.1], ["office", "allow", "enforce", 180], ["build-farm", "allow", "enforce", 96], ["default", "deny", "enforce", 1.7]].map(
        ([rule, action, mode, perSecond]) => ({ rule, action, mode, hits: Math.floor(perSecond * (elapsed + 5000) * (this.busy ? 1 : 0)), allow: 0, deny: 0, would_deny: 0, would_allow: 0 }),
      ),
      limits: [["basic", "user", 0.94, 1204, 12.5], ["limits.per_source", "source", 0.31, 5120, 0.4]].map(
        ([limit, per, fill, subjects, perSecond]) => ({ limit, per, fill: fill * load, subjects, reached: Math.floor(perSecond * (elapsed + 5000) * (this.busy ? 1 : 0)) }),
      ),
      egress: [["fleet", { serving: 6, cooled: 1, probed: 0, drained: 1 }, 812, 0.42], ["carriers", { serving: 4, cooled: 0, probed: 0, drained: 0 }, 96, 0.07]].map(
        ([egress, addresses, sessions, part]) => ({ egress, select: "sticky", addresses, sessions_active: Math.round(sessions * load), ports_max: 28232, fullest_ports: Math.round(28232 * part * load) }),
      ),
      parents: [["uplink", { up: 2, backup: 1, down: 1, drained: 0 }, 341, 0.4], ["tor", { up: 1, backup: 0, down: 0, drained: 0 }, 12, 0]].map(
        ([parent, servers, sessions, perSecond]) => ({ parent, select: "sticky", servers, sessions_active: Math.round(sessions * load), failures: { refused: Math.floor(perSecond * (elapsed + 5000) * (this.busy ? 1 : 0)), closed: 0 }, warm_ready: 4 }),
      ),
      rates: { accepted: 312.4 * load, closed: 309 * load, bytes_up: 1.21e7 * load, bytes_down: 2.46e8 * load, datagrams_up: 5200 * load, datagrams_down: 6100 * load, datagrams_dropped: 13 * load, refused: 2.4 * load },
      latencies: { handshake: lat(1.2), auth: lat(0.9), dns: lat(3.4), connect: lat(11.8), first_byte: lat(18.2), session: lat(2400), turn: lat(0.03, 912000), delay: lat(0.06, 2210000) },
      process: { cpu_s: 4000 + elapsed * 0.83 * load, rss_bytes: 214000000, open_fds: this.sessions.length * 2 + 60, max_fds: 1048576, threads: 11 },
      ...this.state,
    };
  }

  history() {
    const next = random(11);
    const now = Math.floor((Date.now() - this.began) / 1000);
    const at = (i) => i + now;
    const wave = (base, part) => Array.from({ length: this.points }, (_, i) => (this.busy ? base * (1 + part * Math.sin(at(i) / 90) + 0.12 * (next() - 0.5)) : 0));
    const series = {
      active: wave(this.sessions.length, 0.05).map(Math.round), accepted: wave(312, 0.2), bytes_up: wave(1.2e7, 0.3), bytes_down: wave(2.4e8, 0.3),
      datagrams_up: wave(5200, 0.1), datagrams_down: wave(6100, 0.1), datagrams_dropped: wave(13, 0.5), refused: wave(2.4, 0.9),
      turn_p99_ms: wave(0.18, 0.2), delay_p99_ms: wave(0.5, 0.4),
    };
    if (this.points > 400) for (const key of Object.keys(series)) for (let i = 300; i < 312; i++) series[key][i] = null;
    return { interval_s: 1, end: new Date().toISOString(), series };
  }

  top(by) {
    const names = (list, salt) => list.map((name, i) => ({ name, sessions: Math.floor(900 / (i + 1)) + salt, bytes: Math.floor(9e9 / (i + 1.3) ** 1.7), over: 0 }));
    const empty = this.sessions.length === 0;
    const users = this.names ?? USERS.filter(Boolean);
    const targets = this.names ?? TARGETS.map((t) => t.replace(/:\d+$/, ""));
    const sources = ["10.1.4.9", "10.3.201.77", "2001:db8:12::/64", "10.0.0.14", "10.6.8.8", "2001:db8:99::/64", "10.2.2.41", "10.5.120.3"];
    const of = (list, salt) => (empty ? [] : names(list, salt).slice(0, 10));
    return { window_s: 60, by, users: of(users, 3), sources: of(sources, 1), targets: of(targets, 2) };
  }

  list(q) {
    const is = (session) =>
      (!q.get("user") || session.user === q.get("user")) &&
      (!q.get("target") || (session.target ?? "").startsWith(q.get("target"))) &&
      (!q.get("source") || session.client.startsWith(q.get("source"))) &&
      (!q.get("command") || session.command === q.get("command")) &&
      (!q.get("state") || session.state === q.get("state"));
    const matching = this.sessions.filter(is);
    const sort = q.get("sort") ?? "-age";
    const key = { age: "age_ms", rate: null, bytes: null }[sort.replace("-", "")];
    const value = (s) => (sort.endsWith("rate") ? s.rate_up + s.rate_down : s[key ?? sort.replace("-", "")]);
    const sign = sort.startsWith("-") ? -1 : 1;
    const order = (a, b) => sign * (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0);
    return { matching, sorted: matching.toSorted ? matching.toSorted(order) : [...matching].sort(order) };
  }

  api(method, url) {
    const q = url.searchParams;
    const route = url.pathname.slice("/api/v1/".length);
    if (method === "GET" && route === "stats") return [200, this.stats()];
    if (method === "GET" && route === "history") return [200, this.history()];
    if (method === "GET" && route === "top") return [200, this.top(q.get("by") ?? "bytes")];
    if (method === "GET" && route === "sessions") {
      if (q.get("source") === "bad") return [400, { error: "source=bad is neither an address nor a CIDR block" }];
      const { sorted, matching } = this.list(q);
      return [200, { time: new Date().toISOString(), total: this.sessions.length, matched: matching.length, sessions: sorted.slice(0, Number(q.get("limit") ?? 100)) }];
    }
    if (method === "DELETE" && route === "sessions") {
      const gone = new Set(this.list(q).matching);
      this.sessions = this.sessions.filter((session) => !gone.has(session));
      return [200, { ended: gone.size }];
    }
    if (method === "DELETE" && route.startsWith("sessions/")) {
      const id = decodeURIComponent(route.slice("sessions/".length));
      const before = this.sessions.length;
      this.sessions = this.sessions.filter((session) => session.id !== id);
      return before === this.sessions.length ? [404, { error: "no such session" }] : [200, { ended: 1 }];
    }
    return [404, { error: "nothing is here" }];
  }

  handle(request, response) {
    const url = new URL(request.url, "http://localhost");
    this.asked.push(`${request.method} ${request.url}`);
    if (!this.answers) return request.socket.destroy();
    const common = { "x-content-type-options": "nosniff", "cache-control": "no-store", "x-frame-options": "DENY", "referrer-policy": "no-referrer" };
    if (url.pathname === "/") {
      response.writeHead(200, { ...common, "content-type": "text/html; charset=utf-8", "content-security-policy": this.page.csp });
      return response.end(this.page.html);
    }
    const say = (status, value) => {
      response.writeHead(status, { ...common, "content-type": "application/json", "content-security-policy": "default-src 'none'" });
      response.end(JSON.stringify(value));
    };
    if (!url.pathname.startsWith("/api/v1/")) return say(404, { error: "nothing is here" });
    if (this.refuse) return say(this.refuse[0], { error: this.refuse[1] });
    if (this.token && request.headers.authorization !== "Bearer " + this.token) return say(401, { error: "a token is needed" });
    say(...this.api(request.method, url));
  }

  async start(port = 0) {
    this.server = createServer((request, response) => this.handle(request, response));
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

const KINDS = { none: {}, few: { sessions: 7 }, many: { sessions: 20000 }, hostile: { sessions: 24, names: HOSTILE } };

module.exports = { Mock, HOSTILE, KINDS };

if (require.main === module) {
  const [port = "9180", kind = "many"] = process.argv.slice(2);
  new Mock(KINDS[kind]).start(Number(port)).then((mock) => console.log(mock.url));
}
