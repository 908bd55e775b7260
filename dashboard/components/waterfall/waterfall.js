// A trace as a tree of rows over one axis. What stands on the page is updated in place by id, so that a refresh
// moves and blinks nothing. Texts come from events: they are set as textContent or as attributes, never as markup.

const ECHO_MS = 5000;     // how long a click is believed before the server has said so too
const TICKS = 5;
const SAID_ROOM = 0.72;   // of the lane: what begins further right is said to its left

const views = new WeakMap();  // parentElement -> View

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".waterfall");
  let view = views.get(parentElement);
  if (!view || view.root !== root) {
    view = new View(root, view ? view.folded : new Set());
    views.set(parentElement, view);
  }
  view.send = (id) => setTriggerValue("pick", id);
  view.update(data);
}

class View {
  constructor(root, folded) {
    this.root = root;
    this.body = root.querySelector(".body");
    this.axis = root.querySelector(".axis");
    this.folded = folded;      // ids of rows whose children are hidden
    this.rows = new Map();     // id -> {element, row}
    this.awaited = null;       // {id, until}: a click that the server has not answered yet
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("keydown", (event) => this.pressed(event));
  }

  update(data) {
    const first = !this.data;
    this.data = data;
    if (this.awaited && (this.awaited.id === data.selected || Date.now() > this.awaited.until)) this.awaited = null;
    this.picked = this.awaited ? this.awaited.id : data.selected;
    this.drawAxis();
    const kept = new Set(data.rows.map((row) => row.id));
    for (const [id, entry] of this.rows) {
      if (!kept.has(id)) { entry.element.remove(); this.rows.delete(id); }
    }
    let before = null;
    data.rows.forEach((row, i) => {
      let entry = this.rows.get(row.id);
      if (!entry) { entry = { element: makeRow(row) }; this.rows.set(row.id, entry); }
      const next = before ? before.nextSibling : this.body.firstChild;
      if (entry.element !== next) this.body.insertBefore(entry.element, next);
      before = entry.element;
      const parent = i + 1 < data.rows.length && data.rows[i + 1].depth > row.depth;
      const text = JSON.stringify([row, data.start_ms, data.end_ms, parent]);
      if (entry.text !== text) { this.setRow(entry.element, row, parent); entry.text = text; }
      entry.row = row;
    });
    this.fold();
    this.mark();
    if (first && this.picked) this.rows.get(this.picked)?.element.scrollIntoView({ block: "nearest" });
  }

  x(ms) {
    const { start_ms: start, end_ms: end } = this.data;
    return Math.min(1, Math.max(0, (ms - start) / (end - start)));
  }

  drawAxis() {
    const span = this.data.end_ms - this.data.start_ms;
    const step = niceStep(span / TICKS);
    const ticks = [];
    for (let at = 0; at < span * 0.97; at += step) {
      const tick = document.createElement("div");
      tick.className = "tick";
      tick.style.left = `${(at / span) * 100}%`;
      tick.textContent = duration(at);
      ticks.push(tick);
    }
    this.axis.replaceChildren(...ticks);
  }

  setRow(element, row, parent) {
    element.className = `row ${row.kind} ${row.status}`;
    element.title = row.title;
    element.setAttribute("aria-level", row.depth + 1);
    element.setAttribute("aria-label", [row.label, row.sub, row.duration, ...row.badges].filter(Boolean).join(", "));
    const name = element.querySelector(".name");
    name.replaceChildren(
      ...Array.from({ length: Math.min(row.depth, 24) }, () => make("span", "guide")),
      make("span", "fold", parent ? (this.folded.has(row.id) ? "▸" : "▾") : ""),
      make("span", "mark"),
      make("span", "label", row.label),
      ...row.badges.map((badge) => make("span", "badge", badge)),
      make("span", "sub", row.sub),
    );
    this.setLane(element.querySelector(".lane"), row);
  }

  setLane(lane, row) {
    const parts = [];
    let end = this.x(row.at_ms), start = end;
    for (const bar of row.bars) {
      const open = bar.end_ms === null;
      const from = this.x(bar.start_ms), to = open ? 1 : this.x(bar.end_ms);
      const part = make("div", `bar ${bar.kind}${bar.sure ? "" : open ? " open" : " bounded"}`);
      part.style.left = `${from * 100}%`;
      part.style.width = `${(to - from) * 100}%`;
      parts.push(part);
      if (!open) end = Math.max(end, to);
    }
    if (row.kind !== "delivery") {
      const point = make("div", "point");
      point.style.left = `${start * 100}%`;
      parts.push(point);
    }
    if (row.duration) {
      const said = make("span", "said", row.duration);
      if (end > SAID_ROOM && start > 0.3) said.style.right = `${(1 - start) * 100}%`;
      else if (end > SAID_ROOM) said.style.right = "0";
      else said.style.left = `${end * 100}%`;
      if (row.kind !== "delivery") said.style.margin = "0 6px";
      parts.push(said);
    }
    lane.replaceChildren(...parts);
  }

  fold() {
    let hiddenBelow = Infinity;
    for (const row of this.data.rows) {
      const { element } = this.rows.get(row.id);
      if (row.depth <= hiddenBelow) hiddenBelow = Infinity;
      element.classList.toggle("folded-away", hiddenBelow !== Infinity);
      const folded = this.folded.has(row.id);
      if (folded && hiddenBelow === Infinity) hiddenBelow = row.depth;
      const fold = element.querySelector(".fold");
      if (fold.textContent) {
        fold.textContent = folded ? "▸" : "▾";
        element.setAttribute("aria-expanded", String(!folded));
      }
    }
  }

  mark() {
    const anchor = this.rows.has(this.picked) ? this.picked : this.data.rows[0]?.id;
    for (const [id, { element }] of this.rows) {
      element.classList.toggle("picked", id === this.picked);
      element.setAttribute("aria-selected", String(id === this.picked));
      element.tabIndex = id === anchor ? 0 : -1;
    }
  }

  clicked(event) {
    const element = event.target.closest(".row");
    if (!element) return;
    const id = element.dataset.id;
    if (event.target.closest(".fold")?.textContent) this.toggle(id);
    else this.pick(id);
  }

  pick(id) {
    this.awaited = { id, until: Date.now() + ECHO_MS };
    this.picked = id;
    this.mark();
    this.send(id);
  }

  toggle(id, to = !this.folded.has(id)) {
    if (to) this.folded.add(id);
    else this.folded.delete(id);
    this.fold();
  }

  pressed(event) {
    const element = event.target.closest(".row");
    if (!element) return;
    const id = element.dataset.id;
    const shown = [...this.body.querySelectorAll(".row:not(.folded-away)")];
    const at = shown.indexOf(element);
    const go = (to) => shown[to]?.focus();
    const act = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(shown.length - 1),
      ArrowRight: () => this.toggle(id, false),
      ArrowLeft: () => this.toggle(id, true),
      Enter: () => this.pick(id),
      " ": () => this.pick(id),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

function makeRow(row) {
  const element = make("div", "row");
  element.dataset.id = row.id;
  element.setAttribute("role", "treeitem");
  element.append(make("div", "name"), make("div", "lane"));
  return element;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// 1, 2 or 5 times a power of ten up to a second, then steps that a clock has.
function niceStep(ms) {
  const clock = [1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
  if (ms > 500) return clock.find((step) => step >= ms) ?? Math.ceil(ms / 864e5) * 864e5;
  const power = 10 ** Math.floor(Math.log10(Math.max(ms, 1)));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= ms);
}

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 6e4) return `${+(ms / 1000).toFixed(1)} s`;
  if (ms < 36e5) return `${+(ms / 6e4).toFixed(1)} min`;
  return ms < 864e5 ? `${+(ms / 36e5).toFixed(1)} h` : `${+(ms / 864e5).toFixed(1)} d`;
}
