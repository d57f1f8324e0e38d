"use strict";

// What is drawn. Text reaches the page as text alone; elements that did not change are not touched.
const dom = (() => {
  const at = (id) => document.getElementById(id);

  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function attribute(element, key, value) {
    if (value === null) element.removeAttribute(key);
    else if (element.getAttribute(key) !== value) element.setAttribute(key, value);
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // How far a bar is filled, 0 to 1.
  function part(element, value) {
    const filled = format.known(value) ? Math.min(1, Math.max(0, value)).toFixed(3) : "0";
    if (element.style.getPropertyValue("--part") !== filled) element.style.setProperty("--part", filled);
  }

  // Rows of a table's body that keep their elements from one draw to the next. `columns` are
  // { name, label, as } with the cell's class in `as`; the first is the row's head.
  class Rows {
    #body;
    #columns;
    #rows = new Map();

    constructor(body, columns) {
      this.#body = body;
      this.#columns = columns;
    }

    // `items` in the order in which they are shown, `key` tells one from another, `fill` gets the cells by name.
    draw(items, key, fill) {
      const wanted = new Set(items.map(key));
      for (const [id, row] of this.#rows) {
        if (wanted.has(id)) continue;
        row.element.remove();
        this.#rows.delete(id);
      }
      // A row that stands in its place is not touched: moving it would take the focus from it.
      let next = this.#body.firstElementChild;
      for (const item of items) {
        const id = key(item);
        if (!wanted.delete(id)) continue;
        const row = this.#rows.get(id) ?? this.#add(id);
        fill(row.cells, item, row.element);
        if (row.element === next) next = next.nextElementSibling;
        else this.#body.insertBefore(row.element, next);
      }
    }

    get(id) {
      return this.#rows.get(id);
    }

    ids() {
      return [...this.#rows.keys()];
    }

    #add(id) {
      const element = make("tr");
      element.setAttribute("role", "row");
      const cells = {};
      this.#columns.forEach((column, index) => {
        const cell = make(index === 0 ? "th" : "td", column.as);
        cell.setAttribute("role", index === 0 ? "rowheader" : "cell");
        if (index === 0) cell.scope = "row";
        if (column.label) cell.dataset.label = column.label;
        cells[column.name] = cell;
        element.append(cell);
      });
      const row = { element, cells };
      this.#rows.set(id, row);
      return row;
    }
  }

  return { at, say, attribute, make, part, Rows };
})();
