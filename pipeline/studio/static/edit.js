/* Edit: brush a region of a reference; only that is drawn anew. */

import { postFile } from "./api.js";
import { attempt, fileButton, find, onFile, say } from "./dom.js";
import { Painter } from "./paint.js";
import { on, state } from "./state.js";

let painter = null;

export function openEdit() {
  const host = find("edit-board");
  painter = new Painter(host, { grid: state.run.grid, regions: 2, name: "Region to redraw", onchange: count });
  painter.extra.append(fileButton("Import a mask", "image/*", importMask));
  onFile(host, importMask);
  on("reference", show);
  show();
  count();
}

function importMask(file) {
  return attempt(async () => {
    const { region } = await postFile("api/mask", file, state.run.limits.upload_bytes);
    painter.load(region);
    say(`${file.name}: white is drawn anew`);
  });
}

function show() {
  const { reference } = state;
  find("edit-body").hidden = !reference;
  if (reference) attempt(() => painter.showUnder(reference.film.at(-1).canvas));
}

function count() {
  const marked = painter.cells.filter(Boolean).length;
  const all = painter.cells.length;
  find("edit-summary").textContent = marked
    ? `${marked} of ${all} positions are drawn anew, the others are kept.`
    : "Brush over what is to be drawn anew.";
}

/** The part of a request that is edited, and the picture before. */
export function readEdit() {
  if (!state.reference) throw new Error("Choose a reference first.");
  const marked = painter.cells.filter(Boolean).length;
  if (!marked) throw new Error("Brush over a region first.");
  if (marked === painter.cells.length) throw new Error("Everything is marked: leave something to keep, or use Make.");
  return { reference: state.reference.reference, region: painter.cells };
}

/** Show the region of a request. */
export const fillEdit = region => painter.load(region);

/** What an edit starts from. */
export const before = () => state.reference.film.at(-1).canvas;
