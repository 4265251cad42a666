/* Cells of a square grid under strokes and shapes. Places are in cells; all answers are indices. */

const inside = (grid, column, row) => column >= 0 && row >= 0 && column < grid && row < grid;

/** Cells whose centre lies in a disc, and the one below its centre. */
export function disc(grid, x, y, size) {
  const found = new Set();
  const reach = size / 2;
  for (let row = Math.floor(y - reach); row <= y + reach; row++) {
    for (let column = Math.floor(x - reach); column <= x + reach; column++) {
      const isNear = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= reach;
      if (isNear && inside(grid, column, row)) found.add(row * grid + column);
    }
  }
  if (inside(grid, Math.floor(x), Math.floor(y))) found.add(Math.floor(y) * grid + Math.floor(x));
  return found;
}

/** Cells that a disc passes on its way. */
export function stroke(grid, from, to, size) {
  const found = new Set();
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) * 4));
  for (let n = 0; n <= steps; n++) {
    const x = from.x + ((to.x - from.x) * n) / steps;
    const y = from.y + ((to.y - from.y) * n) / steps;
    for (const cell of disc(grid, x, y, size)) found.add(cell);
  }
  return found;
}

/** The box of cells between two places: left, top, right, bottom (the last two outside). */
function box(grid, from, to) {
  const fit = place => Math.min(Math.max(Math.floor(place), 0), grid - 1);
  const [left, right] = [fit(from.x), fit(to.x)].sort((a, b) => a - b);
  const [top, bottom] = [fit(from.y), fit(to.y)].sort((a, b) => a - b);
  return { left, top, right: right + 1, bottom: bottom + 1 };
}

function boxCells(grid, from, to, holds) {
  const { left, top, right, bottom } = box(grid, from, to);
  const found = new Set();
  for (let row = top; row < bottom; row++)
    for (let column = left; column < right; column++) {
      const x = (2 * (column + 0.5 - left)) / (right - left) - 1;
      const y = (2 * (row + 0.5 - top)) / (bottom - top) - 1;
      if (holds(x, y)) found.add(row * grid + column);
    }
  return found;
}

export const rectangle = (grid, from, to) => boxCells(grid, from, to, () => true);
export const ellipse = (grid, from, to) => boxCells(grid, from, to, (x, y) => x * x + y * y <= 1.001);

/** Cells of one region that touch each other, from a cell on. */
export function flood(cells, grid, start) {
  const found = new Set([start]);
  const open = [start];
  while (open.length) {
    const at = open.pop();
    const column = at % grid;
    const row = Math.floor(at / grid);
    for (const [c, r] of [[column - 1, row], [column + 1, row], [column, row - 1], [column, row + 1]]) {
      const next = r * grid + c;
      if (!inside(grid, c, r) || found.has(next) || cells[next] !== cells[start]) continue;
      found.add(next);
      open.push(next);
    }
  }
  return found;
}
