/* A grid to paint regions on: mouse, pen, touch and keyboard, with undo. */

import { disc, ellipse, flood, rectangle, stroke } from "./cells.js";
import { make } from "./dom.js";
import { backBar, markTools, renderBoard, SIDE, toolbar, TOOLS } from "./paint_view.js";

const MOST_UNDO = 200;
const SHAPES = { line: null, rectangle, ellipse };

export class Painter {
  /**
   * Fill `host` with a toolbar and a canvas. `regions` colours (2: one mask); `onchange` after
   * each change that Undo can take back; `name` for those who listen.
   */
  constructor(host, { grid, regions, name, onchange }) {
    Object.assign(this, { grid, regions, name, onchange });
    this.cells = new Array(grid * grid).fill(0);
    this.undone = [];
    this.done = [];
    this.tool = "brush";
    this.region = 1;
    this.size = Math.max(1, Math.round(grid / 8));
    this.under = null;
    this.cursor = { x: Math.floor(grid / 2) + 0.5, y: Math.floor(grid / 2) + 0.5 };
    this.anchor = null; // where a shape or a stroke began
    this.base = null; // the cells before it
    host.append(toolbar(this), this.surface(), backBar(this));
    this.refresh();
  }

  /** Take cells from elsewhere: an imported picture, a restored request. */
  load(cells, remember = true) {
    if (remember) this.remember();
    this.cells = Array.from(cells);
    this.changed();
  }

  /** A picture below the regions, or none. */
  async showUnder(src) {
    this.under = null;
    if (src) {
      const image = new Image();
      image.src = src;
      await image.decode();
      this.under = image;
    }
    this.refresh();
  }

  surface() {
    const keys = "arrows move, Space applies the tool, Shift and arrows draw, Escape drops a shape";
    this.canvas = make("canvas", {
      class: "paint", width: SIDE, height: SIDE, tabindex: 0, role: "application",
      "aria-label": `${this.name}, ${this.grid} by ${this.grid} positions: ${keys}`,
    });
    this.canvas.addEventListener("pointerdown", event => this.down(event));
    this.canvas.addEventListener("pointermove", event => this.moved(event));
    this.canvas.addEventListener("pointerup", () => this.commit());
    this.canvas.addEventListener("pointercancel", () => this.drop());
    this.canvas.addEventListener("keydown", event => this.key(event));
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.refresh());
    return this.canvas;
  }

  choose(fields) {
    Object.assign(this, fields);
    if ("region" in fields && this.tool === "erase") this.tool = "brush";
    this.refresh();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const fit = (at, start, span) => Math.min(Math.max(((at - start) / span) * this.grid, 0), this.grid - 1e-6);
    return { x: fit(event.clientX, box.left, box.width), y: fit(event.clientY, box.top, box.height) };
  }

  down(event) {
    if (event.button > 0 || this.base) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId; // a second finger draws nothing
    this.begin(this.place(event));
    if (this.tool === "fill") this.commit();
  }

  moved(event) {
    if (!this.base || this.isKeyed || event.pointerId !== this.pointer) return;
    const places = (event.getCoalescedEvents?.() ?? []).map(each => this.place(each));
    for (const place of [...places, this.place(event)]) this.extend(place);
  }

  /** Start a stroke, a shape or a fill. */
  begin(place) {
    this.base = this.cells.slice();
    this.anchor = this.last = place;
    if (this.tool === "fill") this.put(flood(this.cells, this.grid, this.cellAt(place)));
    else this.extend(place);
  }

  /** A stroke grows; a shape is drawn anew. */
  extend(place) {
    const shape = this.tool in SHAPES;
    if (shape) this.cells = this.base.slice();
    if (this.tool === "line") this.put(stroke(this.grid, this.anchor, place, this.size));
    else if (shape) this.put(SHAPES[this.tool](this.grid, this.anchor, place));
    else if (this.tool !== "fill") this.put(stroke(this.grid, this.last, place, this.size));
    this.last = place;
    this.refresh();
  }

  put(found) {
    const value = this.tool === "erase" ? 0 : this.region;
    for (const cell of found) this.cells[cell] = value;
  }

  commit() {
    if (!this.base) return;
    const [now, before] = [this.cells, this.base];
    this.base = this.anchor = null;
    this.isKeyed = false;
    if (now.every((value, n) => value === before[n])) return this.refresh();
    this.remember(before);
    this.changed();
  }

  drop() {
    if (this.base) this.cells = this.base;
    this.base = this.anchor = null;
    this.isKeyed = false;
    this.refresh();
  }

  remember(cells = this.cells) {
    this.done.push(cells.slice());
    if (this.done.length > MOST_UNDO) this.done.shift();
    this.undone = [];
  }

  undo = () => this.back(this.done, this.undone);
  redo = () => this.back(this.undone, this.done);

  back(from, to) {
    if (!from.length || this.base) return;
    to.push(this.cells);
    this.cells = from.pop();
    this.changed();
  }

  changed() {
    this.refresh();
    this.onchange();
  }

  cellAt = ({ x, y }) => Math.floor(y) * this.grid + Math.floor(x);

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const letter = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (letter === "z" && !event.shiftKey) this.undo();
      else if (letter === "y" || letter === "z") this.redo();
      else return;
    } else if (step) this.step(step, event.shiftKey);
    else if (event.key === " " || (event.key === "Enter" && !event.ctrlKey)) this.apply();
    else if (event.key === "Escape" && this.base) this.drop();
    else if (/^[1-8]$/.test(letter) && Number(letter) <= this.regions) this.choose({ region: letter - 1 });
    else if (TOOLS.some(tool => tool[2] === letter)) this.choose({ tool: TOOLS.find(tool => tool[2] === letter)[0] });
    else return;
    event.preventDefault();
  }

  step([x, y], isDrawing) {
    const before = this.cursor;
    const fit = value => Math.min(Math.max(value, 0.5), this.grid - 0.5);
    this.cursor = { x: fit(before.x + x), y: fit(before.y + y) };
    if (this.base && this.isKeyed) this.extend(this.cursor);
    else if (isDrawing && !(this.tool in SHAPES) && this.tool !== "fill") {
      this.begin(before);
      this.extend(this.cursor);
      this.commit();
    }
    this.refresh();
    const region = this.cells[this.cellAt(this.cursor)] + 1;
    this.where.textContent = `row ${Math.ceil(this.cursor.y)}, column ${Math.ceil(this.cursor.x)}, region ${region}`;
  }

  /** Space: a dab or a fill at once; a shape needs it twice. */
  apply() {
    if (this.base) return this.commit();
    this.isKeyed = true;
    this.begin(this.cursor);
    if (!(this.tool in SHAPES)) this.commit();
  }

  refresh() {
    markTools(this);
    renderBoard(this);
  }
}
