// Lets tables be put in another order by a column: a click or Enter on its name, once more for the other way, then as it was.
(() => {
  "use strict";
  const least = 3;
  const units = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86400, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Z: 1e21, Y: 1e24 };
  const number = /^([<>]?)\s*(-?[\d,]*\.?\d+)(?:\s*(ms|min|[shdkMGTPEZY]))?(?=$|[\s×%(])/;
  const unknown = /^(|none|no success|not (reported|known|given))$/;
  // How a reader has put a table in order, by what it is called: a page that follows its store puts in tables anew.
  const chosen = new Map();

  // What a cell is worth: a number in one unit; none where it says in words that there is none.
  function worth(text) {
    const found = number.exec(text.trim());
    if (!found) return NaN;
    const value = Number(found[2].replaceAll(",", "")) * (units[found[3]] || 1);
    // "< 0.01 %" is less than 0.01 %, and more than nothing.
    return found[1] ? value * (found[1] === "<" ? 0.999 : 1.001) : value;
  }

  const called = (table) => `${table.caption ? table.caption.textContent.replace(/[\d.,]+/g, "") : ""}|${table.tHead.rows[0].cells.length}`;

  // Names are compared as people do, numbers by size; what is not known comes last either way.
  function inOrder(rows, column, falling) {
    const texts = rows.map((row) => row.cells[column].textContent);
    const values = texts.map(worth);
    const named = column === 0 || texts.some((text, at) => Number.isNaN(values[at]) && !unknown.test(text));
    const compare = (a, b) => {
      if (named) return texts[a].localeCompare(texts[b], undefined, { numeric: true }) * (falling ? -1 : 1);
      if (Number.isNaN(values[a]) || Number.isNaN(values[b])) return Number.isNaN(values[a]) - Number.isNaN(values[b]);
      return (values[a] - values[b]) * (falling ? -1 : 1);
    };
    return rows.map((row, at) => at).sort((a, b) => compare(a, b) || a - b).map((at) => rows[at]);
  }

  function put(table, first, column, way) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      if (at === column && way) head.setAttribute("aria-sort", way);
      else head.removeAttribute("aria-sort");
    });
    table.tBodies[0].append(...(way ? inOrder(first, column, way === "descending") : first));
  }

  // Names are asked for from A, numbers from the largest.
  const ways = (column) => (column === 0 ? ["ascending", "descending"] : ["descending", "ascending"]);

  function prepare(table) {
    const first = [...table.tBodies[0].rows];
    if (first.length < least || table.querySelector("button.sort")) return;
    const name = called(table);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const order = [...ways(column), ""];
        const way = order[(order.indexOf(head.getAttribute("aria-sort") || "") + 1) % order.length];
        if (way) chosen.set(name, [column, way]);
        else chosen.delete(name);
        put(table, first, column, way);
      });
    });
    if (chosen.has(name)) put(table, first, ...chosen.get(name));
  }

  const prepareAll = (place) => place.querySelectorAll(".scroll > table:not(.nested)").forEach(prepare);
  document.addEventListener("tokenflation:put", (event) => prepareAll(event.detail));
  prepareAll(document);
})();
