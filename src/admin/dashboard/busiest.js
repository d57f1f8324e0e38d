"use strict";

// Users, sources and targets of the last minute, the busiest first. A name is a button that shows its sessions.
const busiest = (() => {
  const LIMIT = 8;
  let show = () => {};

  const chosen = () => document.querySelector("input[name=by]:checked").value;

  function slots(list) {
    while (list.children.length < LIMIT) {
      const item = dom.make("li", "bar");
      const name = dom.make("button", "link");
      name.type = "button";
      name.addEventListener("click", () => show(list.id.slice("top-".length, -1), name.value));
      item.append(name, dom.make("span", "num soft", ""), dom.make("span", "num", ""));
      list.append(item);
    }
    return [...list.children];
  }

  function fill(id, entries, by) {
    const most = entries[0]?.[by] ?? 0;
    slots(dom.at(id)).forEach((item, at) => {
      const entry = entries[at];
      const [name, other, value] = item.children;
      name.hidden = !entry;
      dom.say(name, entry ? format.name(entry.name) : "");
      name.value = entry ? entry.name : "";
      dom.attribute(name, "title", entry ? "Show the sessions of " + format.name(entry.name) : null);
      const amounts = entry ? [format.bytes(entry.bytes), format.count(entry.sessions)] : ["", ""];
      if (entry) amounts[1] += entry.sessions === 1 ? " session" : " sessions";
      if (by === "bytes") amounts.reverse();
      dom.say(other, entry || at > 0 ? amounts[0] : "nobody yet");
      dom.say(value, amounts[1]);
      dom.part(item, entry && most > 0 ? entry[by] / most : 0);
    });
  }

  function draw(top) {
    fill("top-users", top.users ?? [], top.by);
    fill("top-sources", top.sources ?? [], top.by);
    fill("top-targets", top.targets ?? [], top.by);
  }

  const path = () => "top" + api.query({ by: chosen(), limit: LIMIT });
  const onChange = (again) => {
    for (const input of document.querySelectorAll("input[name=by]")) input.addEventListener("change", again);
  };

  return { draw, path, onChange, onChoice: (act) => (show = act) };
})();
