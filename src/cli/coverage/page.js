"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg", CELL = 11, STEP = 13, LEFT = 92, TOP = 18, MAX_SHOWN = 500;
  const at = (id) => document.getElementById(id);
  // Text is written as text only, so nothing in the data can become an element.
  const make = (parent, name, attributes = {}, text = "", space = null) => {
    const node = space ? document.createElementNS(space, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== "") node.textContent = text;
    parent.append(node);
    return node;
  };
  const draw = (parent, name, attributes, text) => make(parent, name, attributes, text, SVG);
  const number = (value) => value.toLocaleString("en");
  const two = (value) => String(value).padStart(2, "0");
  const monthName = (n) => `${data.year + Math.floor((data.month + n) / 12)}-${two((data.month + n) % 12 + 1)}`;
  const trading = data.trading.map((set) => parseInt(set, 36));

  const CLASSES = [
    ["all", "all days stored"], ["most", "90 % and more"], ["half", "50 % and more"], ["less", "less than 50 %"],
    ["none", "none stored"], ["unknown", "not known"], ["blank", "no trading day"],
  ];
  const classOf = ([expected, stored, unknown = 0]) => {
    if (expected === 0) return unknown > 0 ? "unknown" : "blank";
    if (stored === expected) return unknown > 0 ? "unknown" : "all";
    if (stored === 0) return "none";
    return stored * 10 >= expected * 9 ? "most" : stored * 2 >= expected ? "half" : "less";
  };
  const describe = (row, n) => {
    const [expected, stored, unknown = 0] = row.cells[n];
    const share = stored === expected ? 100 : Math.floor(stored / expected * 1000) / 10;
    const known = expected === 0 ? "no day is known to be a trading day" :
      `${number(stored)} of ${number(expected)} days stored` + (unknown > 0 && share === 100 ? "" : ` (${share} %)`);
    return `${row.name}, ${monthName(n)}: ${known}` + (unknown > 0 ? `; ${number(unknown)} days are not known` : "");
  };

  const hatch = (svg) => {
    const pattern = draw(draw(svg, "defs", {}), "pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)" });
    draw(pattern, "rect", { width: 5, height: 5 });
    draw(pattern, "path", { d: "M0 0V5" });
  };
  const legend = () => {
    for (const [name, text] of CLASSES) {
      const item = make(at("legend"), "span", { role: "listitem" });
      const svg = draw(item, "svg", { width: CELL, height: CELL, "aria-hidden": "true" });
      draw(svg, "rect", { class: name, width: CELL, height: CELL });
      item.append(text);
    }
  };

  let chosen = null;
  const cells = [];
  const drawMap = () => {
    const width = LEFT + trading.length * STEP, height = TOP + data.rows.length * STEP;
    if (data.rows.length === 0 || trading.length === 0) {
      make(at("map"), "p", { class: "note" }, "There is nothing to show: no security, or no trading day in the range.");
      return;
    }
    const svg = draw(at("map"), "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `Heat map of ${data.subject}: ${data.rows.length} rows, ${trading.length} months` });
    hatch(svg);
    for (let n = 0; n < trading.length; n++) {
      if ((data.month + n) % 12 === 0 || n === 0) {
        const isCut = n === 0 && data.month > 8;
        if (!isCut) draw(svg, "text", { x: LEFT + n * STEP, y: 12, class: "dim" }, monthName(n).slice(0, 4));
      }
    }
    data.rows.forEach((row, r) => {
      draw(svg, "text", { x: LEFT - 8, y: TOP + r * STEP + 10, "text-anchor": "end" }, row.name);
      cells.push(row.cells.map((cell, n) => {
        const rect = draw(svg, "rect", { class: classOf(cell), x: LEFT + n * STEP, y: TOP + r * STEP, width: CELL, height: CELL,
          rx: 1, role: "button", tabindex: r + n === 0 ? 0 : -1, "aria-label": describe(row, n), "data-row": row.name,
          "data-month": monthName(n) });
        draw(rect, "title", {}, describe(row, n));
        rect.addEventListener("click", () => choose(r, n));
        rect.addEventListener("keydown", (event) => onKey(event, r, n));
        return rect;
      }));
    });
    if (data.rowsLeftOut > 0) {
      make(at("map"), "p", { class: "note" }, `${number(data.rowsLeftOut)} further rows, which lack fewer days, are not in this page; --codes selects some.`);
    }
  };
  const onKey = (event, r, n) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(r, n); return; }
    const move = moves[event.key];
    const next = move && cells[r + move[0]] && cells[r + move[0]][n + move[1]];
    if (!next) return;
    event.preventDefault();
    cells[r][n].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  };

  // The days of a security in a month: see page_data.rs for the words.
  const setIn = (words, month) => {
    for (const word of words === "" ? [] : words.split(" ")) {
      const [first, second] = word.split(/[.-]/).map((part) => parseInt(part, 36));
      if (word.includes(".") ? first === month : first <= month && month <= second) {
        return word.includes(".") ? second : trading[month];
      }
    }
    return 0;
  };
  const daysOf = (set, month) => {
    const days = [];
    for (let day = 1; day <= 31; day++) if (Math.floor(set / 2 ** (day - 1)) % 2 === 1) days.push(`${monthName(month)}-${two(day)}`);
    return days;
  };
  const choose = (r, n) => {
    if (chosen) chosen.classList.remove("chosen");
    chosen = cells[r][n];
    chosen.classList.add("chosen");
    const rows = data.codes.filter((code) => code[1] === r)
      .map(([code, , missing, partial]) => [code, daysOf(setIn(missing, n), n), daysOf(setIn(partial, n), n)])
      .filter(([, missing, partial]) => missing.length + partial.length > 0);
    const box = at("detail");
    box.replaceChildren();
    make(box, "h3", {}, describe(data.rows[r], n));
    if (rows.length > 0) {
      const isPartial = rows.some(([, , partial]) => partial.length > 0);
      const shown = rows.slice(0, MAX_SHOWN);
      table(box, isPartial ? ["code", "missing", "incomplete"] : ["code", "missing"], isPartial ? shown : shown.map((row) => row.slice(0, 2)));
    }
    const more = rows.length - MAX_SHOWN;
    if (more > 0) make(box, "p", { class: "note" }, `and ${number(more)} more securities`);
    const [expected, stored] = data.rows[r].cells[n];
    if (rows.length === 0) make(box, "p", {}, expected > stored ? "Their days are not in this page." : "No known day is missing.");
    if (data.codesLeftOut > 0 && expected > stored) {
      make(box, "p", { class: "note" }, `The days of ${number(data.codesLeftOut)} securities, which lack many, are not in this page; --codes or --start selects some.`);
    }
  };

  const table = (parent, heads, rows) => {
    const node = make(make(parent, "div", { class: "scroll", tabindex: 0 }), "table");
    const isNumber = (n) => rows.some((row) => typeof row[n] === "number");
    const head = make(make(node, "thead"), "tr");
    heads.forEach((text, n) => make(head, "th", { scope: "col", class: isNumber(n) ? "number" : "" }, text));
    const body = make(node, "tbody");
    for (const row of rows) {
      const line = make(body, "tr");
      row.forEach((cell, n) => {
        const box = make(line, "td", { class: isNumber(n) ? "number" : "" }, Array.isArray(cell) ? "" : typeof cell === "number" ? number(cell) : cell);
        if (Array.isArray(cell)) cell.forEach((day) => { make(box, "span", { class: "day" }, day); box.append(" "); });
      });
    }
  };

  const chart = (title, days, value, colour, unit) => {
    const box = make(at("charts"), "figure", { style: "margin: 8px 0" });
    const width = 1100, height = 70, step = width / Math.max(days.length, 60), most = Math.max(...days.map(value), 0);
    make(box, "figcaption", { class: "hint" }, `${title}; at most ${number(most)}${unit} a day`);
    const svg = draw(box, "svg", { viewBox: `0 0 ${width} ${height + 16}`, width: "100%", role: "img", "aria-label": title });
    days.forEach((day, n) => {
      const size = most === 0 ? 0 : value(day) / most * height;
      const bar = draw(svg, "rect", { class: colour, x: n * step, y: height - size, width: Math.max(step - 1, 0.5), height: size });
      draw(bar, "title", {}, `${day.day}: ${number(value(day))}${unit}`);
    });
    draw(svg, "text", { x: 0, y: height + 13, class: "dim" }, days[0].day);
    if (days.length > 1) draw(svg, "text", { x: (days.length - 1) * step, y: height + 13, class: "dim", "text-anchor": days.length > 8 ? "end" : "start" }, days[days.length - 1].day);
  };
  const note = (id, text) => make(at(id), "p", { class: "note" }, text);
  const drawDays = () => {
    const days = data.days.rows;
    if (data.days.error) return note("days", `Not known: ${data.days.error}`);
    if (days.length === 0) return note("days", "No quality report is kept of these days.");
    const missing = (day) => day.expected === 0 ? 0 : Math.ceil(day.missing / day.expected * 1000) / 10;
    chart("Expected rows that did not come", days, missing, "none", " %");
    chart("Refused commands and failed tasks", days, (day) => day.commands_refused + day.tasks_failed, "less", "");
    table(at("days"), ["day", "reports", "tasks done", "tasks failed", "commands refused", "rows expected", "missing", "written", "skipped"],
      days.slice().reverse().map((day) => [day.day, day.reports, day.tasks_done, day.tasks_failed, day.commands_refused, day.expected, day.missing, day.written, day.skipped]));
  };
  const drawLetters = () => {
    const letters = data.letters;
    if (letters.error) return note("letters", `Not known: ${letters.error}`);
    if (letters.number === 0) return note("letters", "None.");
    const classes = Object.entries(letters.classes).map(([name, count]) => `${name} ${number(count)}`).join(", ");
    make(at("letters"), "p", {}, `${number(letters.number)}: ${classes}`);
    table(at("letters"), ["letter", "time", "class", "command", "sender", "reason"], letters.rows.slice().reverse());
    if (letters.number > letters.rows.length) note("letters", `The newest ${number(letters.rows.length)} are listed; see data-worker dlq list.`);
  };

  data.doubts.forEach((doubt) => make(at("doubts"), "li", {}, doubt));
  legend();
  drawMap();
  drawLetters();
  drawDays();
})();
