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
  const state = { sort: null, descending: true, page: 0, found: [] };

  function matches(row, index) {
    const status = byId("status").value;
    const iteration = byId("iteration");
    const kept = row[column.status] === "kept";
    return (status === "" || row[column.status] === status || (status === "dropped" && !kept))
      && (!iteration || iteration.value === "" || row[column.iteration] === iteration.value)
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

  function tableRow(row) {
    const made = document.createElement("tr");
    made.append(...TEXTS.map((text) => textCell(row[text])));
    for (const [name, digits] of Object.entries(NUMBERS)) {
      made.append(element("td", "", row[column[name]].toFixed(digits).replace("-", "\u2212")));
    }
    const kept = row[column.status] === "kept";
    const status = element("td", "status", kept ? "kept" : "dropped: " + row[column.status].replaceAll("_", " "));
    if (byId("iteration")) status.append(element("span", "side", row[column.iteration]));
    made.append(status);
    return made;
  }

  function show() {
    const pages = Math.max(1, Math.ceil(state.found.length / PAGE_ROWS));
    const start = state.page * PAGE_ROWS;
    byId("pair-rows").replaceChildren(...state.found.slice(start, start + PAGE_ROWS).map(tableRow));
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
  for (const id of ["query", "status", "iteration"]) {
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
