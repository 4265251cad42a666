/* What a painter shows: its tools, its regions, its grid. */

import { hatch, regionColor } from "./colors.js";
import { button, make, roving, setStop } from "./dom.js";

export const SIDE = 512; // of the bitmap; the page scales it
export const TOOLS = [
  ["brush", "Brush", "b"],
  ["fill", "Fill", "f"],
  ["line", "Line", "l"],
  ["rectangle", "Rectangle", "r"],
  ["ellipse", "Ellipse", "o"],
  ["erase", "Erase", "e"],
];
const MARK = "#ff2d95"; // as the outline of a cluster in `nvgctl view`

/** Tools, the size of the brush, and the regions where there are more than two. */
export function toolbar(painter) {
  const tools = make("div", { class: "group", role: "toolbar", "aria-label": "Tools" });
  painter.toolButtons = TOOLS.map(([tool, text, key]) =>
    button(text, () => painter.choose({ tool }), { "data-tool": tool, title: `${text} (${key.toUpperCase()})` }));
  tools.append(...painter.toolButtons);
  roving(tools);
  const size = make("input", {
    type: "range", min: 1, max: Math.max(2, Math.round(painter.grid / 2)), value: painter.size,
    oninput: event => painter.choose({ size: Number(event.target.value) }),
  });
  const bar = make("div", { class: "paint-bar" }, tools);
  painter.swatches = [];
  if (painter.regions > 2) bar.append(palette(painter));
  bar.append(make("label", {}, "Brush size ", size));
  return bar;
}

function palette(painter) {
  const box = make("div", { class: "group", role: "toolbar", "aria-label": "Regions" });
  for (let region = 0; region < painter.regions; region++) {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = regionColor(region);
    const one = button("", () => painter.choose({ region }), {
      "data-region": region, "aria-label": `region ${region + 1}`, title: `Region ${region + 1} (${region + 1})`,
    });
    one.append(swatch, String(region + 1));
    painter.swatches.push(one);
  }
  box.append(...painter.swatches);
  roving(box);
  return box;
}

/** Undo, redo, clear, and room for more. */
export function backBar(painter) {
  painter.undoButton = button("Undo", () => painter.undo(), { title: "Undo (Ctrl+Z)" });
  painter.redoButton = button("Redo", () => painter.redo(), { title: "Redo (Ctrl+Y)" });
  const clear = button("Clear", () => painter.load(new Array(painter.cells.length).fill(0)));
  painter.extra = make("span", { class: "group" });
  painter.where = make("span", { class: "hint", role: "status" }); // of the keyboard's cursor
  return make("div", { class: "paint-bar" },
    make("span", { class: "group" }, painter.undoButton, painter.redoButton, clear),
    painter.extra, painter.where);
}

/** Which tool and region are chosen, and what can be undone. */
export function markTools({ toolButtons, swatches, tool, region, undoButton, redoButton, done, undone }) {
  for (const one of toolButtons) one.setAttribute("aria-pressed", String(one.dataset.tool === tool));
  setStop(toolButtons[0].parentNode, toolButtons.find(one => one.dataset.tool === tool));
  swatches.forEach((one, n) => one.setAttribute("aria-pressed", String(n === region)));
  if (swatches.length) setStop(swatches[0].parentNode, swatches[region]);
  undoButton.disabled = !done.length;
  redoButton.disabled = !undone.length;
}

/** The picture below, the regions, the lines of the grid, and the cursor of the keyboard. */
export function renderBoard({ canvas, grid, under, cells, regions, cursor }) {
  const pen = canvas.getContext("2d");
  const size = SIDE / grid;
  pen.clearRect(0, 0, SIDE, SIDE);
  pen.imageSmoothingEnabled = under?.width > 128;
  if (under) pen.drawImage(under, 0, 0, SIDE, SIDE);
  cells.forEach((region, n) => {
    const [x, y] = [(n % grid) * size, Math.floor(n / grid) * size];
    if (regions > 2) fillRegion(pen, region, x, y, size, under ? 0.55 : 1);
    else if (region) markCell(pen, x, y, size);
  });
  drawLines(pen, grid, size);
  if (document.activeElement === canvas) drawCursor(pen, cursor, size);
}

function fillRegion(pen, region, x, y, size, alpha) {
  pen.globalAlpha = alpha;
  pen.fillStyle = regionColor(region);
  pen.fillRect(x, y, size, size);
  pen.globalAlpha = 1;
}

function markCell(pen, x, y, size) {
  pen.globalAlpha = 0.4;
  pen.fillStyle = MARK;
  pen.fillRect(x, y, size, size);
  pen.globalAlpha = 1;
  hatch(pen, x, y, size, size, MARK);
}

function drawLines(pen, grid, size) {
  pen.lineWidth = 1;
  pen.strokeStyle = "rgba(128,128,128,0.45)";
  pen.beginPath();
  for (let n = 1; n < grid; n++) {
    pen.moveTo(n * size, 0);
    pen.lineTo(n * size, SIDE);
    pen.moveTo(0, n * size);
    pen.lineTo(SIDE, n * size);
  }
  pen.stroke();
}

/* Black and white, so that it is seen on every colour. */
function drawCursor(pen, cursor, size) {
  const [x, y] = [Math.floor(cursor.x) * size, Math.floor(cursor.y) * size];
  for (const [color, inset] of [["#000", 1.5], ["#fff", 4.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = 3;
    pen.strokeRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
  }
}
