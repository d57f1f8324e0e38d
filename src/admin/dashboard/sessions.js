"use strict";

// Live sessions: filtered, sorted and cut by the server, so that any number of them is one short answer.
const sessions = (() => {
  const LIMIT = 100;
  const LIMIT_NARROW = 30; // each is a card there
  const narrow = matchMedia("(max-width: 46rem)");
  const TYPING_MS = 350;

  const columns = [
    { name: "user", label: "User", sort: "user" },
    { name: "client", label: "Client", sort: "client" },
    { name: "target", label: "Target", sort: "target", as: "target" },
    { name: "command", label: "Command" },
    { name: "state", label: "State", sort: "state" },
    { name: "age", label: "Age", sort: "-age", as: "num" },
    { name: "down", label: "Down", sort: "-bytes_down", as: "num" },
    { name: "up", label: "Up", sort: "-bytes_up", as: "num" },
    { name: "rate", label: "Rate", sort: "-rate", as: "num" },
    { name: "end", label: "", as: "end" },
  ];
  const commands = { connect: "CONNECT", bind: "BIND", udp_associate: "UDP", resolve: "RESOLVE", resolve_ptr: "PTR" };

  const form = dom.at("filter");
  const list = dom.at("list");
  const body = list.tBodies[0];
  const rows = new dom.Rows(body, columns);
  const endAll = dom.at("end-all");
  let sort = "-age";
  let again = () => {};
  let last = null; // the answer that is shown
  let shown = new Map(); // its sessions by id

  // ---- what is asked for

  const filters = () => {
    const given = Object.fromEntries(new FormData(form));
    delete given.sort;
    for (const key of ["source", "target", "rule"]) given[key] = given[key].trim();
    return given;
  };
  const isFiltered = () => Object.values(filters()).some((value) => value !== "");
  const path = () => "sessions" + api.query({ ...filters(), sort, limit: narrow.matches ? LIMIT_NARROW : LIMIT });

  function sortBy(next) {
    sort = next;
    const key = sort.replace("-", "");
    for (const head of list.tHead.rows[0].cells) {
      const own = head.dataset.sort?.replace("-", "") === key;
      dom.attribute(head, "aria-sort", own ? (sort.startsWith("-") ? "descending" : "ascending") : null);
    }
    form.elements.sort.value = sort;
    again();
  }

  function buildHead() {
    for (const column of columns) {
      const head = dom.make("th", column.as);
      head.scope = "col";
      head.setAttribute("role", "columnheader");
      if (column.sort) {
        const button = dom.make("button", "sort", column.label);
        button.type = "button";
        head.dataset.sort = column.sort;
        button.addEventListener("click", () => {
          const reversed = column.sort.startsWith("-") ? column.sort.slice(1) : "-" + column.sort;
          sortBy(sort === column.sort ? reversed : column.sort);
        });
        head.append(button);
        form.elements.sort.append(new Option(column.label, column.sort));
      } else if (column.label) {
        head.append(column.label);
      } else {
        head.append(dom.make("span", "hidden", "End"));
      }
      list.tHead.rows[0].append(head);
    }
  }

  // ---- what is shown

  // With the pointer or the keyboard's focus in the list nothing moves there: a row that is aimed at stays where it is.
  let pointed = false;
  body.addEventListener("pointerenter", (event) => (pointed = event.pointerType === "mouse"));
  body.addEventListener("pointerleave", () => (pointed = false));
  const held = () => body.rows.length > 0 && (pointed || body.querySelector(":focus-visible") !== null);

  const bothRates = (session) =>
    format.known(session.rate_up) || format.known(session.rate_down)
      ? (session.rate_up ?? 0) + (session.rate_down ?? 0)
      : null;

  // Host and port apart: the direction in which a host is written does not reach its port.
  function fillTarget(cell, target) {
    if (!cell.firstChild) cell.append(dom.make("bdi", ""), dom.make("span", ""));
    const at = target.search(/:\d+$/);
    dom.say(cell.firstChild, at < 0 ? target : target.slice(0, at));
    dom.say(cell.lastChild, at < 0 ? "" : target.slice(at));
  }

  function fill(cells, session, row) {
    const target = format.name(session.target);
    dom.say(cells.user, format.name(session.user));
    dom.attribute(cells.user, "title", format.name(session.user));
    dom.say(cells.client, format.name(session.client));
    fillTarget(cells.target, target);
    dom.attribute(cells.target, "title", session.address ? target + " at " + session.address : target);
    const command = commands[session.command] ?? format.name(session.command);
    dom.say(cells.command, session.engine ? command + " " + session.engine : command);
    dom.say(cells.state, format.name(session.state));
    dom.say(cells.age, format.age(session.age_ms));
    dom.say(cells.down, format.bytes(session.bytes_down));
    dom.say(cells.up, format.bytes(session.bytes_up));
    dom.say(cells.rate, format.bits(bothRates(session)));
    row.classList.toggle("idle", session.idle_ms > 60000);
    row.classList.toggle("gone", !shown.has(session.id));
    if (!cells.end.firstChild) {
      const button = dom.make("button", "small", "End…");
      button.type = "button";
      button.addEventListener("click", () => ending.one(button.value));
      cells.end.append(button);
    }
    const button = cells.end.firstChild;
    if (button.value !== session.id) button.value = session.id;
    dom.attribute(button, "aria-label", "End the session of " + format.name(session.user ?? session.client) + " to " + target);
  }

  function draw(answer) {
    const before = shown;
    last = answer;
    shown = new Map(answer.sessions.map((session) => [session.id, session]));
    const stays = held();
    dom.at("sessions-held").hidden = !stays;
    const items = stays
      ? rows.ids().map((id) => shown.get(id) ?? before.get(id) ?? { ...rows.get(id).last, id })
      : answer.sessions;
    rows.draw(
      items,
      (session) => session.id,
      (cells, session, row) => {
        fill(cells, session, row);
        rows.get(session.id).last = session;
      },
    );
    const number = answer.sessions.length;
    const of = format.count(answer.matched);
    const all = format.count(answer.total);
    const part = number < answer.matched ? format.count(number) + " of " + of : of;
    dom.say(dom.at("sessions-count"), isFiltered() ? part + " that match, of " + all : part);
    const empty = dom.at("list-empty");
    empty.hidden = items.length > 0;
    dom.say(empty, isFiltered() ? "No session matches." : "No session is open.");
    const { user, source, target } = filters();
    endAll.hidden = answer.matched === 0 || !(user || source || target);
    dom.say(endAll, "End " + (answer.matched === 1 ? "this one…" : "these " + of + "…"));
    problem("");
  }

  const problem = (words) => dom.say(dom.at("sessions-problem"), words);

  // ---- ending them: always asked for once more

  const ending = (() => {
    const dialog = dom.at("kill");
    const sure = dom.at("kill-sure");
    let act = null;

    function open(head, words, facts, sureWords, path, done) {
      dom.say(dom.at("kill-head"), head);
      dom.say(dom.at("kill-words"), words);
      dom.say(dom.at("kill-problem"), "");
      dom.say(sure, sureWords);
      const record = dom.at("kill-facts");
      record.replaceChildren(
        ...facts.flatMap(([key, value]) => [dom.make("dt", "", key), dom.make("dd", "", value)]),
      );
      record.hidden = facts.length === 0;
      act = async () => {
        sure.disabled = true;
        try {
          const answer = await api.ask(path, "DELETE");
          dom.say(dom.at("told"), done(answer.ended));
          dialog.close();
        } catch (error) {
          const words = error.status === 404 ? "It is not there any more." : "It was not ended: " + error.message;
          dom.say(dom.at("kill-problem"), words);
        } finally {
          sure.disabled = false;
        }
        again();
      };
      dialog.showModal();
    }

    function one(id) {
      const session = shown.get(id) ?? rows.get(id)?.last;
      if (!session) return;
      const who = format.name(session.user ?? session.client);
      const words = "Both sides are closed at once, and its record says killed.";
      open("End this session?", words, facts(session), "End it", "sessions/" + encodeURIComponent(id), () =>
        "Ended: the session of " + who + " to " + format.name(session.target) + ".",
      );
    }

    function all() {
      const chosen = filters();
      const given = Object.entries(chosen).filter(([, value]) => value !== "");
      const facts = given.map(([key, value]) => [format.words(key), format.name(value)]);
      const number = format.count(last?.matched ?? 0);
      const words = "All sessions that match now are ended, also those that are not on this page.";
      open("End " + number + " sessions?", words, facts, "End all of them", "sessions" + api.query(chosen), (ended) =>
        "Ended: " + format.count(ended) + " sessions.",
      );
    }

    const facts = (s) =>
      [
        ["User", format.name(s.user)],
        ["Client", format.name(s.client)],
        ["Target", format.name(s.target)],
        ["Address", s.address && format.name(s.address)],
        ["Leaves from", s.local && format.name(s.local)],
        ["Pool", s.egress && format.name(s.egress)],
        ["State", format.name(s.state)],
        ["Command", [commands[s.command], s.engine].filter(Boolean).join(", ")],
        ["Began", format.age(s.age_ms) + " ago"],
        ["Idle for", format.age(s.idle_ms)],
        ["Down", format.bytes(s.bytes_down)],
        ["Up", format.bytes(s.bytes_up)],
        ["Datagrams", s.datagrams_up || s.datagrams_down ? `${format.count(s.datagrams_down)} down, ${format.count(s.datagrams_up)} up` : null],
        ["Rule", s.rule && format.name(s.rule)],
        ["Would be denied by", s.would_deny && format.name(s.would_deny)],
        ["Login by", s.method && format.name(s.method)],
        ["Protocol", s.protocol && format.name(s.protocol)],
        ["Listener", s.listener && format.name(s.listener)],
        ["Worker", format.known(s.worker) ? String(s.worker) : null],
        ["Id", format.name(s.id)],
      ].filter(([, value]) => value);

    sure.addEventListener("click", () => act?.());
    return { one, all };
  })();

  // ---- the form

  let typing = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(typing);
    if (event.target.name === "sort") return sortBy(event.target.value);
    typing = setTimeout(() => again(), TYPING_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    again();
  });
  form.addEventListener("reset", () => setTimeout(() => sortBy("-age")));
  endAll.addEventListener("click", () => ending.all());

  // Shows the sessions of one user, source or target.
  function only(field, value) {
    form.reset();
    form.elements[field].value = value;
    dom.at("sessions").scrollIntoView();
    dom.at("sessions").focus({ preventScroll: true });
    again();
  }

  buildHead();
  sortBy(sort);
  return { draw, path, problem, only, onChange: (act) => (again = act) };
})();
