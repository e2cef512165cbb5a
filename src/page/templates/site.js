"use strict";
(() => {
  const page = document.documentElement;
  const root = document.body.dataset.root;
  const at = (id) => document.getElementById(id);

  // Light or dark, remembered where the browser lets a page remember.
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("vis-theme");
      localStorage.setItem("vis-theme", value);
    } catch { /* then it is not remembered */ }
    return null;
  };
  const theme = (value) => { if (value) page.dataset.theme = value; };
  theme(remembered());
  const turn = () => {
    const dark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    theme(dark ? "light" : "dark");
    remembered(page.dataset.theme);
  };
  at("theme").addEventListener("click", turn);

  // Search: the names are in a file of their own, read when they are first wanted.
  const dialog = at("search"), query = at("query"), hits = at("hits");
  let loading;
  const names = () => loading ??= new Promise((done) => {
    const script = document.createElement("script");
    script.src = root + "search.js";
    script.onload = () => done(window.VIS_NAMES);
    script.onerror = () => done([]);
    document.head.append(script);
  });
  const show = async () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const [name, kind, href] of await names()) {
      const text = `${name} ${kind}`.toLowerCase();
      if (words.every((word) => text.includes(word)) && found.push([name, kind, href]) >= 40) break;
    }
    hits.replaceChildren(...found.map(([name, kind, href], index) => {
      const item = document.createElement("li"), link = document.createElement("a"), small = document.createElement("small");
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", index === 0);
      link.href = root + href;
      link.textContent = name;
      small.textContent = kind;
      link.append(small);
      item.append(link);
      return item;
    }));
    if (!found.length) {
      const nothing = document.createElement("p");
      nothing.textContent = "Nothing has that name.";
      hits.append(nothing);
    }
  };
  const open = () => { dialog.showModal(); query.select(); show(); };
  at("find").addEventListener("click", open);
  query.addEventListener("input", show);
  query.addEventListener("keydown", (event) => {
    const options = [...hits.querySelectorAll("li")];
    const chosen = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Enter") {
      event.preventDefault();
      options[chosen]?.firstChild.click();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const other = options[chosen + (event.key === "ArrowDown" ? 1 : -1)];
      if (!other) return;
      options[chosen].setAttribute("aria-selected", false);
      other.setAttribute("aria-selected", true);
      other.scrollIntoView({ block: "nearest" });
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // Order and filter of a layer's units; both are in the address, so that they can be linked to.
  const grid = at("units"), filter = at("filter");
  if (grid) {
    const cards = [...grid.children], buttons = [...document.querySelectorAll("[data-order]")];
    const state = new URLSearchParams(location.hash.startsWith("#unit-") ? "" : location.hash.slice(1));
    const arrange = () => {
      const order = state.get("order") ?? "name", sign = order === "name" ? 1 : -1;
      cards.sort((a, b) => sign * (a.dataset[order] - b.dataset[order]) || a.dataset.name - b.dataset.name);
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const card of cards) {
        const text = card.dataset.text.toLowerCase();
        card.hidden = !words.every((word) => text.includes(word));
        shown += !card.hidden;
      }
      grid.append(...cards);
      buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.order === order));
      at("count").textContent = shown === cards.length ? `${shown} units` : `${shown} of ${cards.length} units`;
      at("nothing").hidden = shown > 0;
    };
    const change = (key, value, usual) => {
      if (value === usual) state.delete(key); else state.set(key, value);
      history.replaceState(null, "", `${location.pathname}#${state}`);
      arrange();
    };
    buttons.forEach((button) => button.addEventListener("click", () => change("order", button.dataset.order, "name")));
    filter.value = state.get("filter") ?? "";
    filter.addEventListener("input", () => change("filter", filter.value, ""));
    arrange();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || event.target.matches("input")) return;
    const { previous, next } = document.body.dataset;
    const go = (address) => { if (address) location.href = address; };
    if (event.key === "/") { event.preventDefault(); open(); }
    else if (event.key === "t") turn();
    else if (event.key === "ArrowLeft") go(previous);
    else if (event.key === "ArrowRight") go(next);
    else if (event.key === "u") go([...document.querySelectorAll(".crumbs a")].at(-1)?.href);
  });
})();
