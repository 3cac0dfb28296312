(function () {
  "use strict";

  const byId = (id) => document.getElementById(id);

  // Pairs: text reaches the page through textContent only, so it never becomes markup.

  const PAGE_ROWS = 10;
  const data = JSON.parse(byId("pair-data").textContent);
  const column = Object.fromEntries(data.columns.map((name, index) => [name, index]));
  const TEXTS = [column.prompt, column.chosen, column.rejected];
  const NUMBERS = {
    p_chosen: 3, margin: 2, chosen_logprob_per_token: 2, rejected_logprob_per_token: 2,
    chosen_tokens: 0, rejected_tokens: 0,
  };
  const haystacks = data.rows.map((row) => TEXTS.map((text) => row[text]).join("\n").toLowerCase());
  const pooled = JSON.parse(byId("pool-data").textContent);
  const pools = new Map(Object.entries(pooled.pools).map(([row, rows]) => [
    data.rows[row],
    rows.map((values) => Object.fromEntries(pooled.columns.map((name, at) => [name, values[at]]))),
  ]));
  const state = { sort: null, descending: true, page: 0, found: [], open: new Set() };

  function matches(row, index) {
    const status = byId("status").value;
    const iteration = byId("iteration");
    const kept = row[column.status] === "kept";
    return (status === "" || row[column.status] === status || (status === "dropped" && !kept))
      && (!iteration || iteration.value === "" || row[column.iteration] === iteration.value)
      && (!byId("pooled") || !byId("pooled").checked || pools.has(row))
      && haystacks[index].includes(byId("query").value.toLowerCase());
  }

  function find() {
    state.found = data.rows.filter(matches);
    if (state.sort !== null) {
      const at = column[state.sort];
      const sign = state.descending ? -1 : 1;
      state.found.sort((a, b) => sign * (a[at] - b[at]));
    }
    state.page = 0;
    show();
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function textCell(text) {
    const cell = element("td", "text", "");
    cell.append(element("div", "body", text === "" ? "(empty)" : text));
    return cell;
  }

  function number(value, digits) {
    return value.toFixed(digits).replace("-", "\u2212");
  }

  function tableRows(row, index) {
    const made = document.createElement("tr");
    made.append(...TEXTS.map((text) => textCell(row[text])));
    for (const [name, digits] of Object.entries(NUMBERS)) {
      made.append(element("td", "", number(row[column[name]], digits)));
    }
    const kept = row[column.status] === "kept";
    const status = element("td", "status", kept ? "kept" : "dropped: " + row[column.status].replaceAll("_", " "));
    if (byId("iteration")) status.append(element("span", "side", row[column.iteration]));
    made.append(status);
    if (!pools.has(row)) return [made];
    const place = element("tr", "pool", "");
    place.id = "pool-" + index;
    made.firstChild.append(poolButton(row, place));
    unfold(row, place);
    return [made, place];
  }

  // Pools: all candidates that a pair was chosen from.

  const SHORT = 160;
  const FAULTS = { cut: "cut by the limit", too_long: "longer than the limit" };
  const ORDERS = { gold: "Gold reward", human: "Share of human comparisons won" };

  function poolButton(row, place) {
    const size = pools.get(row).reduce((sum, each) => sum + each.count, 0);
    const button = element("button", "unfold", "Pool of " + size);
    button.type = "button";
    button.setAttribute("aria-controls", place.id);
    button.setAttribute("aria-expanded", state.open.has(row));
    button.addEventListener("click", () => {
      if (!state.open.delete(row)) state.open.add(row);
      button.setAttribute("aria-expanded", state.open.has(row));
      unfold(row, place);
    });
    return button;
  }

  function unfold(row, place) {
    place.hidden = !state.open.has(row);
    place.replaceChildren();
    if (place.hidden) return;
    const pool = pools.get(row);
    const orders = Object.keys(ORDERS).filter((name) => pool.some((each) => each[name] !== null));
    const cell = element("td", "", "");
    cell.colSpan = TEXTS.length + Object.keys(NUMBERS).length + 1;
    const body = element("div", "pool-body", "");
    body.append(strip(pool, "margin", "Mean margin"));
    body.append(...orders.map((name) => strip(pool, name, ORDERS[name])));
    body.append(candidates(pool, orders));
    cell.append(body);
    place.append(cell);
  }

  function candidates(pool, orders) {
    const region = element("div", "scroll candidates", "");
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", "Candidates of the pool");
    const table = element("table", "", "");
    const head = table.createTHead().insertRow();
    const heads = ["Rank", "Candidate", "mean margin", "logprob a token", "tokens"];
    for (const name of [...heads, ...orders.map((order) => ORDERS[order])]) {
      const made = element("th", name === "Candidate" ? "text" : "", name);
      made.scope = "col";
      head.append(made);
    }
    const rows = table.createTBody();
    for (const each of pool) {
      const made = rows.insertRow();
      made.className = each.marks;
      made.append(element("td", "", each.rank), candidate(each));
      made.append(element("td", "", number(each.margin, 2)));
      made.append(element("td", "", number(each.logprob_per_token, 2)));
      made.append(element("td", "", each.tokens));
      made.append(...orders.map((name) => ranked(each, name)));
    }
    region.append(table);
    return region;
  }

  function ranked(each, name) {
    const cell = element("td", "", each[name] === null ? "" : number(each[name], 2));
    if (each[name] !== null) cell.append(element("small", "", "rank " + each[name + "_rank"]));
    return cell;
  }

  function candidate(each) {
    const cell = element("td", "text", "");
    const notes = each.marks === "" ? [] : each.marks.split(" ");
    if (each.fault) notes.push(FAULTS[each.fault]);
    if (each.count > 1) notes.push("\u00d7" + each.count);
    const badges = element("div", "badges", "");
    for (const note of notes) badges.append(element("span", "badge", note), " ");
    if (notes.length) cell.append(badges);
    cell.append(shortened(each.response));
    return cell;
  }

  function shortened(text) {
    if (text.length <= SHORT) return element("div", "whole-text", text === "" ? "(empty)" : text);
    const half = (SHORT - 20) / 2;
    const made = element("details", "", "");
    const short = text.slice(0, half) + " \u2026 " + text.slice(-half);
    made.append(element("summary", "", short), element("div", "whole-text", text));
    return made;
  }

  // A line of marks, one a candidate.

  const MARKS = {
    best: "the teacher's best", worst: "its worst", chosen: "\u25bc\u00a0chosen", rejected: "\u25b2\u00a0rejected",
  };

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 600, LEFT = 12, LINE = 26;

  function drawn(tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function strip(pool, name, title) {
    const known = pool.filter((each) => each[name] !== null);
    const values = known.map((each) => each[name]);
    const low = Math.min(...values), high = Math.max(...values);
    const x = (value) => LEFT + (WIDTH - 2 * LEFT) * (high > low ? (value - low) / (high - low) : .5);
    const picture = drawn("svg", { viewBox: "0 0 " + WIDTH + " 52", class: "strip", role: "img" });
    picture.append(drawn("line", { x1: LEFT, x2: WIDTH - LEFT, y1: LINE, y2: LINE, class: "axis" }));
    for (const each of known) picture.append(tick(x(each[name]), each));
    for (const each of known) {
      if (has(each, "chosen")) picture.append(triangle(x(each[name]), LINE - 10, -1, "chosen"));
      if (has(each, "rejected")) picture.append(triangle(x(each[name]), LINE + 10, 1, "rejected"));
    }
    const text = title + ": " + described(known, name, low, high);
    picture.setAttribute("aria-label", text);
    const figure = element("figure", "", "");
    figure.append(picture, element("figcaption", "", text));
    return figure;
  }

  function described(known, name, low, high) {
    const marked = Object.entries(MARKS).map(([mark, words]) => {
      const each = known.find((candidate) => has(candidate, mark));
      return each ? "; " + words + " " + number(each[name], 2) : "";
    });
    return number(low, 2) + " to " + number(high, 2) + marked.join("") + ".";
  }

  function has(each, mark) {
    return each.marks.split(" ").includes(mark);
  }

  function tick(x, each) {
    const large = has(each, "best") || has(each, "worst");
    const kind = large ? "tick extreme" : each.fault ? "tick fault" : "tick";
    const half = large ? 9 : 6;
    return drawn("line", { x1: x, x2: x, y1: LINE - half, y2: LINE + half, class: kind });
  }

  function triangle(x, y, way, kind) {
    const points = [[x, y], [x - 7, y + 12 * way], [x + 7, y + 12 * way]].join(" ");
    return drawn("polygon", { points, class: kind });
  }

  function show() {
    const pages = Math.max(1, Math.ceil(state.found.length / PAGE_ROWS));
    const start = state.page * PAGE_ROWS;
    byId("pair-rows").replaceChildren(...state.found.slice(start, start + PAGE_ROWS).flatMap(tableRows));
    byId("found").textContent = state.found.length + " of " + data.rows.length + " pairs";
    byId("page").textContent = "Page " + (state.page + 1) + " of " + pages;
    byId("first").disabled = byId("previous").disabled = state.page === 0;
    byId("next").disabled = byId("last").disabled = state.page === pages - 1;
  }

  function turn(id, target) {
    byId(id).addEventListener("click", () => {
      state.page = target(Math.max(0, Math.ceil(state.found.length / PAGE_ROWS) - 1));
      show();
    });
  }

  function sortBy(head) {
    const name = head.dataset.column;
    state.descending = state.sort === name ? !state.descending : true;
    state.sort = name;
    for (const other of document.querySelectorAll("th[data-column]")) {
      other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    find();
  }

  turn("first", () => 0);
  turn("previous", () => state.page - 1);
  turn("next", () => state.page + 1);
  turn("last", (last) => last);
  for (const id of ["query", "status", "iteration", "pooled"]) {
    if (byId(id)) byId(id).addEventListener("input", find);
  }
  byId("whole").addEventListener("input", (event) => {
    byId("pair-table").classList.toggle("whole", event.target.checked);
  });
  for (const head of document.querySelectorAll("th[data-column]")) {
    head.querySelector("button").addEventListener("click", () => sortBy(head));
  }
  find();
})();
