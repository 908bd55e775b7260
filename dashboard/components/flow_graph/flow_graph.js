// The flow graph. What stands on the page is updated in place by id, so that a refresh moves and blinks
// nothing. Texts come from events: they are set as textContent or as attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const PADDING = 22;         // px around the graph when it is fitted
const ZOOM_STEP = 1.3;
const LARGEST = 3;          // times the layout's own size
const SMALLEST = 0.08;
const LARGEST_FITTED = 1.15;
const DRAG_PX = 4;          // less than this is a click
const ECHO_MS = 5000;       // how long a click is believed before the server has said so too
const HEAD = 7;             // length of an arrow's head
const ICONS = {
  service: "M1 3.5 6 .8 11 3.5V8.5L6 11.2 1 8.5ZM1 3.5 6 6.2 11 3.5M6 6.2V11",
  stream: "M.8 3H11.2M.8 6H11.2M.8 9H11.2",
  group: "M4 4.6A1.8 1.8 0 1 0 4 1 1.8 1.8 0 1 0 4 4.6M.8 11C.8 6 7.2 6 7.2 11M8 1.2A1.8 1.8 0 0 1 8 4.5M9 7Q11.2 8 11.2 11",
  dead_letters: "M.8 2.2H11.2V9.8H.8ZM.8 2.6 6 6.6 11.2 2.6",
};

const zooms = new WeakMap();  // parentElement -> {k, x, y, touched}
const views = new WeakMap();  // parentElement -> View

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".graph");
  let view = views.get(parentElement);
  if (!view || view.root !== root) {
    if (!zooms.has(parentElement)) zooms.set(parentElement, { k: 1, x: 0, y: 0, touched: false });
    view = new View(root, zooms.get(parentElement));
    views.set(parentElement, view);
  }
  view.send = (id) => setTriggerValue("pick", id);
  view.update(data);
}

class View {
  constructor(root, zoom) {
    this.root = root;
    this.zoom = zoom;
    this.svg = root.querySelector(".canvas");
    this.world = root.querySelector(".world");
    this.layers = Object.fromEntries(
      ["edges", "nodes", "labels"].map((name) => [name, root.querySelector(`.${name}`)]),
    );
    this.nodes = new Map();
    this.edges = new Map();
    this.picked = null;
    this.awaited = null;  // {id, until}: a click that the server has not answered yet
    this.hovered = null;
    this.listen();
  }

  // ---- data

  update(data) {
    this.data = data;
    this.svg.style.height = `${data.pixels}px`;
    sync(this.nodes, data.nodes, (node) => makeNode(this.layers.nodes, node), setNode);
    sync(this.edges, data.edges, (edge) => makeEdge(this.layers.edges, this.layers.labels, edge), setEdge);
    if (this.awaited && (this.awaited.id === data.selected || Date.now() > this.awaited.until)) this.awaited = null;
    this.picked = this.awaited ? this.awaited.id : data.selected;
    this.mark();
    const shape = `${data.width} ${data.height} ${data.pixels}`;
    if (shape !== this.shape && !this.zoom.touched) this.fit();
    else this.apply();
    this.shape = shape;
  }

  pick(id) {
    if (id === this.picked) return;
    this.picked = id;
    this.awaited = { id, until: Date.now() + ECHO_MS };
    this.mark();
    this.send(id ?? "");
  }

  // Highlights what belongs to the selection and what is under the pointer.
  mark() {
    const close = this.around(this.picked);
    const under = this.around(this.hovered);
    for (const [id, { element }] of this.nodes) {
      element.classList.toggle("picked", id === this.picked);
      element.classList.toggle("far", close !== null && !close.has(id));
      element.setAttribute("aria-pressed", String(id === this.picked));
    }
    for (const [id, edge] of this.edges) {
      const near = Boolean(close?.has(id) || under?.has(id));
      for (const element of [edge.element, edge.tag]) {
        element.classList.toggle("near", near);
        element.classList.toggle("far", close !== null && !near);
      }
      edge.element.classList.toggle("picked", id === this.picked);
      setText(edge.tag, near ? edge.data.label : edge.data.note);
      const share = this.tagAt(edge.data, near);
      if (share !== edge.share) placeTag(edge, share);
    }
  }

  // Labels around a node stand by its neighbours, where there is room for them; 0 to 1 of the edge's way.
  tagAt({ source, target, tag_at: usual }, near) {
    const centre = near && [this.picked, this.hovered].find((id) => id === source || id === target);
    if (!centre) return usual;
    if (centre === source) return 0.72;
    return usual < 0.5 ? 0.55 : 0.28;
  }

  // The ids of a node and all that touches it, or of an edge and its ends; null where it is not drawn.
  around(id) {
    if (id === null) return null;
    const edge = this.edges.get(id)?.data;
    if (edge) return new Set([id, edge.source, edge.target]);
    if (!this.nodes.has(id)) return null;
    const close = new Set([id]);
    for (const { data } of this.edges.values()) {
      if (data.source === id || data.target === id) close.add(data.id).add(data.source).add(data.target);
    }
    return close;
  }

  // ---- pan and zoom

  apply(gliding = false) {
    this.world.classList.toggle("gliding", gliding);
    this.world.style.transform = `translate(${this.zoom.x}px, ${this.zoom.y}px) scale(${this.zoom.k})`;
  }

  fit(gliding = false) {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width || !this.data) return;
    const room = { width: width - 2 * PADDING, height: height - 2 * PADDING };
    const k = Math.min(room.width / this.data.width, room.height / this.data.height, LARGEST_FITTED);
    Object.assign(this.zoom, {
      k,
      x: (width - k * this.data.width) / 2,
      y: (height - k * this.data.height) / 2,
      touched: false,
    });
    this.apply(gliding);
  }

  zoomBy(factor, at = null, gliding = false) {
    const { width, height } = this.svg.getBoundingClientRect();
    const { x, y } = at ?? { x: width / 2, y: height / 2 };
    const k = Math.min(LARGEST, Math.max(SMALLEST, this.zoom.k * factor));
    const ratio = k / this.zoom.k;
    Object.assign(this.zoom, {
      k, x: x - (x - this.zoom.x) * ratio, y: y - (y - this.zoom.y) * ratio, touched: true,
    });
    this.apply(gliding);
  }

  moveBy(dx, dy, gliding = false) {
    Object.assign(this.zoom, { x: this.zoom.x + dx, y: this.zoom.y + dy, touched: true });
    this.apply(gliding);
  }

  // Brings a node that the keyboard has reached into sight.
  reveal(node) {
    const { width, height } = this.svg.getBoundingClientRect();
    const { k, x, y } = this.zoom;
    const shift = (low, high, room) => (low < 8 ? 8 - low : high > room - 8 ? room - 8 - high : 0);
    const dx = shift(x + k * node.x, x + k * (node.x + node.width), width);
    const dy = shift(y + k * node.y, y + k * (node.y + node.height), height);
    if (dx || dy) this.moveBy(dx, dy, true);
  }

  // ---- what people do

  listen() {
    const { svg, root } = this;
    new ResizeObserver(() => this.zoom.touched || this.fit()).observe(svg);
    let drag = null;
    svg.addEventListener("pointerdown", (event) => {
      drag = event.button === 0 ? { x: event.clientX, y: event.clientY, moved: false } : null;
    });
    svg.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) < DRAG_PX) return;
      if (!drag.moved) svg.setPointerCapture(event.pointerId);
      svg.classList.add("panning");
      drag = { x: event.clientX, y: event.clientY, moved: true };
      this.moveBy(dx, dy);
    });
    const released = () => {
      svg.classList.remove("panning");
      if (!drag?.moved) drag = null;
    };
    svg.addEventListener("pointerup", released);
    svg.addEventListener("pointercancel", () => { released(); drag = null; });
    svg.addEventListener("click", (event) => {
      const dragged = drag?.moved;
      drag = null;
      if (!dragged) this.pick(idOf(event.target));
    });
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;  // the plain wheel scrolls the page
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const at = { x: event.clientX - box.left, y: event.clientY - box.top };
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), at);
    }, { passive: false });
    svg.addEventListener("pointerover", (event) => this.hover(idOf(event.target)));
    svg.addEventListener("pointerleave", () => this.hover(null));
    svg.addEventListener("focusin", (event) => {
      const node = this.nodes.get(idOf(event.target))?.data;
      if (node && event.target.matches(":focus-visible")) this.reveal(node);
    });
    root.addEventListener("keydown", (event) => this.key(event));
    root.querySelector(".zoom").addEventListener("click", (event) => {
      const what = event.target.dataset.zoom;
      if (what === "fit") this.fit(true);
      else if (what) this.zoomBy(what === "in" ? ZOOM_STEP : 1 / ZOOM_STEP, null, true);
    });
  }

  hover(id) {
    if (id === this.hovered) return;
    this.hovered = id;
    this.mark();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const id = idOf(event.target);
    if ((event.key === "Enter" || event.key === " ") && id !== null) this.pick(id);
    else if (event.key === "Escape") this.pick(null);
    else if (event.key === "+" || event.key === "=") this.zoomBy(ZOOM_STEP, null, true);
    else if (event.key === "-") this.zoomBy(1 / ZOOM_STEP, null, true);
    else if (event.key === "0") this.fit(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const idOf = (target) => target.closest?.("[data-id]")?.dataset.id ?? null;

// Makes what is new, updates what stays, and takes away what is gone; nothing that stays leaves the page.
function sync(drawn, wanted, make, set) {
  const ids = new Set(wanted.map(({ id }) => id));
  for (const [id, item] of drawn) {
    if (ids.has(id)) continue;
    item.element.remove();
    item.tag?.remove();
    drawn.delete(id);
  }
  for (const data of wanted) {
    if (!drawn.has(data.id)) drawn.set(data.id, make(data));
    const item = drawn.get(data.id);
    set(item, data);
    item.data = data;
  }
}

function make(parent, name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.appendChild(element);
  return element;
}

function setText(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

// A text that is too wide for its place all the same (its letters are wide) is squeezed into it.
function setFitting(element, text, room, anew = false) {
  if (!setText(element, text) && !anew) return;
  element.removeAttribute("textLength");
  if (element.getComputedTextLength() > room) {
    element.setAttribute("textLength", room);
    element.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
}

function setClasses(element, kept, ...wanted) {
  const stay = kept.filter((name) => element.classList.contains(name));
  const value = [...wanted, ...stay].filter(Boolean).join(" ");
  if (element.getAttribute("class") !== value) element.setAttribute("class", value);
}

function makeNode(layer, { id, kind, width, height }) {
  const element = make(layer, "g", { tabindex: 0, role: "button" });
  element.dataset.id = id;
  const item = { element, title: make(element, "title") };
  if (kind === "group") make(element, "rect", { class: "stack", x: 4, y: 4, width, height, rx: 5 });
  const rx = kind === "stream" || kind === "dead_letters" ? height / 2 : 5;
  make(element, "rect", { class: "body", width, height, rx });
  make(element, "rect", { class: "ring", x: -4, y: -4, width: width + 8, height: height + 8, rx: rx + 4 });
  make(element, "path", { class: "icon", d: ICONS[kind], transform: `translate(${kind === "group" || kind === "service" ? 9 : 13} ${height / 2 - 16})` });
  item.inset = rx > 5 ? 13 : 9;
  item.name = make(element, "text", { class: "name", x: item.inset + 17, y: height / 2 - 4 });
  item.detail = make(element, "text", { class: "detail", x: item.inset, y: height / 2 + 13 });
  item.aside = make(element, "text", { class: "aside", x: width - item.inset, y: height / 2 + 13 });
  return item;
}

function setNode(item, node) {
  const { element } = item;
  setClasses(element, ["picked", "far"], "node", node.kind, node.status);
  element.setAttribute("transform", `translate(${node.x} ${node.y})`);
  element.setAttribute("aria-label", node.title.replaceAll("\n", ", "));
  setText(item.title, node.title);
  setFitting(item.name, node.label, node.width - 2 * item.inset - 17);
  const aside = setText(item.aside, node.aside);
  if (aside) item.asideWidth = node.aside ? item.aside.getComputedTextLength() + 8 : 0;
  setFitting(item.detail, node.detail, node.width - 2 * item.inset - (item.asideWidth ?? 0), aside);
}

function makeEdge(layer, labels, { id }) {
  const element = make(layer, "g");
  element.dataset.id = id;
  return {
    element,
    title: make(element, "title"),
    hit: make(element, "path", { class: "hit" }),
    line: make(element, "path", { class: "line" }),
    head: make(element, "path", { class: "head" }),
    tag: make(labels, "text", { class: "tag" }),
  };
}

function setEdge(item, edge) {
  setClasses(item.element, ["picked", "near", "far"], "edge", edge.status, edge.dashed && "dashed");
  setClasses(item.tag, ["near", "far"], "tag", edge.status);
  setText(item.title, edge.title);
  item.line.setAttribute("stroke-width", strokeWidth(edge.rate));
  const loop = edge.source === edge.target;
  const path = loop ? loopPath(edge.points) : levelPath(edge.points);
  if (item.line.getAttribute("d") === path) return;
  item.line.setAttribute("d", path);
  item.hit.setAttribute("d", path);
  item.head.setAttribute("d", headPath(edge.points, loop));
  item.share = null;  // the label is to be placed anew
}

function placeTag(item, share) {
  const { x, y } = item.line.getPointAtLength(item.line.getTotalLength() * share);
  item.tag.setAttribute("x", x);
  item.tag.setAttribute("y", y + 3.5);
  item.share = share;
}

// 0.01/s and less 1.2 px, 1/s 2.2 px, 100/s 4.2 px, 10,000/s 6.2 px; unknown the thinnest
function strokeWidth(rate) {
  if (!rate) return 1.2;
  return Math.min(7, Math.max(1.2, 2.2 + Math.log10(rate)));
}

// Curves that leave and arrive level at every point; the line ends inside the arrow's head.
function levelPath(points) {
  const way = points.map((point) => [...point]);
  const last = way.length - 1;
  way[last][0] -= Math.sign(way[last][0] - way[last - 1][0]) * (HEAD - 1);
  let path = `M${way[0][0]} ${way[0][1]}`;
  for (let i = 1; i < way.length; i += 1) {
    const [[x0, y0], [x1, y1]] = [way[i - 1], way[i]];
    const half = (x1 - x0) / 2;
    path += y0 === y1 ? `L${x1} ${y1}` : `C${x0 + half} ${y0} ${x1 - half} ${y1} ${x1} ${y1}`;
  }
  return path;
}

const loopPath = ([[x0, y0], [x1, y1]]) => `M${x0} ${y0}C${x0} ${y0 - 24} ${x1} ${y1 - 24} ${x1} ${y1 - HEAD + 1}`;

function headPath(points, loop) {
  const [x, y] = points.at(-1);
  if (loop) return `M${x} ${y}l-4 ${-HEAD}h8z`;
  const back = -Math.sign(x - points.at(-2)[0]) * HEAD;
  return `M${x} ${y}l${back} -4v8z`;
}
