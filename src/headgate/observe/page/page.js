"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const body = document.body, uri = body.dataset.uri, live = $("#live");
  const rows = new Map($$("tr[data-key]").map(row => [row.dataset.key, row]));
  const cards = $$("section.card");

  // --- curves
  const LENGTH = 120;
  const curves = new Map();
  const path = (values, top, width, height, hide) => {
    const step = width / (LENGTH - 1), from = LENGTH - values.length;
    return values.map((value, at) => `${((from + at) * step).toFixed(1)},${(hide && !value ? height + 2 : height - 1 - (height - 3) * value / top).toFixed(1)}`);
  };
  const draw = curve => {
    const top = Math.max(1, ...curve.r, ...curve.e), points = path(curve.r, top, 180, 30);
    if (points.length) {
      $(".r", curve.svg).setAttribute("points", points.join(" "));
      $(".f", curve.svg).setAttribute("points", `${points[0].split(",")[0]},30 ${points.join(" ")} 180,30`);
    }
    $(".e", curve.svg).setAttribute("points", curve.e.some(value => value) ? path(curve.e, top, 180, 30, true).join(" ") : "");
  };
  $$("svg.spark").forEach(svg => {
    const list = text => text ? text.split(",").map(Number) : [];
    const curve = { svg, now: svg.previousElementSibling, r: list(svg.dataset.r), e: list(svg.dataset.e) };
    curves.set(svg.dataset.key, curve);
    draw(curve);
  });
  const extend = (key, point) => {
    const curve = curves.get(key);
    if (!curve) return;
    for (const [name, value] of [["r", point[0]], ["e", point[1]]]) {
      curve[name].push(value);
      if (curve[name].length > LENGTH) curve[name].shift();
    }
    $("b", curve.now).textContent = point[0];
    $("i", curve.now).textContent = point[1] ? ` ${point[1]} err/s` : "";
    draw(curve);
  };

  // --- live
  const LOOKS = body.dataset.looks.split(" ");
  let first = true;
  const apply = facts => {
    for (const [key, change] of Object.entries(facts.rows)) {
      const row = rows.get(key);
      if (!row) continue;
      for (const [at, value] of Object.entries(change)) {
        if (at === "look") {
          row.classList.remove(...LOOKS);
          row.classList.add(value);
          continue;
        }
        const cell = row.cells[Number(at) + 1];
        if (!cell) continue;
        const place = cell.firstElementChild || cell;
        if (place.textContent !== value[0]) {
          place.textContent = value[0];
          if (!first) { cell.classList.remove("changed"); void cell.offsetWidth; cell.classList.add("changed"); }
        }
        if (value[1]) cell.dataset.v = value[1]; else delete cell.dataset.v;
        if (value[2]) cell.title = value[2]; else cell.removeAttribute("title");
      }
    }
    for (const [key, point] of Object.entries(facts.points)) extend(key, point);
    for (const [name, text] of Object.entries(facts.process)) {
      const place = document.getElementById("p-" + name);
      if (place) place.textContent = text;
    }
    first = false;
    if (body.dataset.set && facts.set !== body.dataset.set && !$("dialog[open]") && !$("input[name=s]:checked")) location.reload();
  };
  const say = (state, text) => { live.className = "live " + state; live.textContent = text; live.hidden = false; };
  let source = null;
  const listen = () => {
    if (source || document.hidden || !body.dataset.live) return;
    source = new EventSource(body.dataset.live);
    source.onopen = () => say("on", "live");
    source.onmessage = event => { apply(JSON.parse(event.data)); body.dataset.events = Number(body.dataset.events || 0) + 1; };
    source.onerror = () => say("off", source.readyState === 2 ? "not live" : "reconnecting");
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) { source.close(); source = null; say("", "paused"); } else listen();
  });
  listen();

  // --- filter
  const box = $("#filter");
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(word => word);
    const fits = text => words.every(word => text.includes(word));
    for (const card of cards) {
      const whole = fits(card.dataset.name.toLowerCase());
      let shown = 0;
      for (const row of $$("tbody tr", card)) {
        const member = row.classList.contains("server") || row.classList.contains("listener");
        const fit = whole || fits((card.dataset.name + " " + row.cells[0].textContent + " " + row.cells[1].textContent).toLowerCase());
        row.hidden = member && !fit;
        if (member && fit) shown++;
      }
      card.hidden = !whole && !shown;
    }
    $("#none").hidden = cards.some(card => !card.hidden);
  };
  $("#filterbox").hidden = false;
  box.addEventListener("input", filter);
  document.addEventListener("keydown", event => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) { event.preventDefault(); box.focus(); }
    if (event.key === "Escape" && document.activeElement === box) { box.value = ""; filter(); }
  });

  // --- sorting: servers among each other; frontend and backend stay where they are
  const value = (row, at, text) => {
    const cell = row.cells[at], written = cell.dataset.v ?? cell.textContent.trim();
    return text ? written : written === "" ? -Infinity : Number(written);
  };
  const sort = (head, table) => {
    const down = head.getAttribute("aria-sort") === (head.dataset.text ? "ascending" : "descending") ? !head.dataset.text : !!head.dataset.text;
    const direction = down ? "ascending" : "descending";
    $$("th[aria-sort]", table).forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const members = $$("tbody tr.server", table), at = Number(head.dataset.at), text = head.dataset.text;
    const sign = direction === "ascending" ? 1 : -1, end = members.length ? members[members.length - 1].nextSibling : null;
    const order = (a, b) => text ? value(a, at, true).localeCompare(value(b, at, true), undefined, { numeric: true }) : value(a, at) - value(b, at) || 0;
    members.sort((a, b) => sign * order(a, b)).forEach(row => row.parentNode.insertBefore(row, end));
  };
  $$("th[data-at]").forEach(head => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, head.closest("table")));
  });

  // --- details of a row, and all checkboxes at once
  const dialog = $("dialog");
  document.addEventListener("click", async event => {
    const link = event.target.closest("a.row");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const answer = await fetch(link.href, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const facts = $("#details", page);
    if (!facts) return;
    $("#into").replaceChildren(document.importNode(facts, true));
    dialog.showModal();
  });
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  $$("input.all").forEach(all => {
    all.hidden = false;
    all.addEventListener("change", () => $$("input[name=s]", all.form).forEach(one => { one.checked = all.checked && !one.closest("tr").hidden; }));
  });
})();
