/* Draw: regions on the latent grid, and at once the balanced hierarchy that they give. */

import { post, postFile } from "./api.js";
import { drawLabels } from "./colors.js";
import { attempt, fileButton, find, make, onFile, say } from "./dom.js";
import { Painter } from "./paint.js";
import { on, state } from "./state.js";

const WAIT = 120; // milliseconds after the last change until the server is asked

let painter = null;
let asked = 0;
let timer = null;

export function openDraw() {
  const { grid, limits, stages } = state.run;
  const host = find("draw-board");
  painter = new Painter(host, { grid, regions: limits.regions, name: "Drawing", onchange: preview });
  painter.extra.append(fileButton("Import a mask or label map", "image/*", importMap));
  onFile(host, importMap);
  const choice = find("draw-stages");
  choice.append(make("option", { value: "", text: "as many as it determines" }));
  for (let count = 1; count <= stages; count++) choice.append(make("option", { value: count, text: count }));
  choice.addEventListener("change", preview);
  find("draw-trace").addEventListener("change", trace);
  on("shown image", trace);
  preview();
}

/** The image that is shown, below the drawing. */
function trace() {
  const isOn = find("draw-trace").checked;
  const canvas = state.shown?.stages.at(-1)?.images[state.image]?.canvas;
  attempt(() => painter.showUnder(isOn ? canvas : null));
}

export function importMap(file) {
  return attempt(async () => {
    const { regions, count, merged } = await postFile("api/map", file, state.run.limits.upload_bytes);
    painter.load(regions);
    const left = merged ? `, ${merged} small ones are merged into the last` : "";
    say(`${file.name}: ${count} regions${left}`);
  });
}

const chosenStages = () => (find("draw-stages").value ? Number(find("draw-stages").value) : null);

/** The part of a request that is drawn. */
export function readDrawing() {
  if (new Set(painter.cells).size < 2) throw new Error("Draw a second region first.");
  return { drawing: { regions: painter.cells, stages: chosenStages() } };
}

/** Show the drawing of a request. */
export function fillDrawing({ regions, stages }) {
  find("draw-stages").value = stages ?? "";
  painter.load(regions);
}

function preview() {
  clearTimeout(timer);
  timer = setTimeout(showHierarchy, WAIT);
}

/** Ask for the hierarchy; only the answer to the last question counts. */
async function showHierarchy() {
  const turn = ++asked;
  const summary = find("draw-summary");
  find("draw-legend").hidden = true;
  if (new Set(painter.cells).size < 2) {
    find("draw-hierarchy").replaceChildren();
    summary.textContent = "Paint a region: what is drawn becomes the structure of the first stages.";
    return;
  }
  try {
    const found = await post("api/drawing", { regions: painter.cells, stages: chosenStages() });
    if (turn !== asked) return;
    summary.textContent = summaryOf(found);
    find("draw-hierarchy").replaceChildren(...found.hierarchy.map(frame));
    find("draw-legend").hidden = false;
  } catch (error) {
    if (turn !== asked) return;
    find("draw-hierarchy").replaceChildren();
    summary.textContent = error.message;
  }
}

function summaryOf({ stages, determined, regions, hierarchy }) {
  const sizes = regions.map(each => each.positions).join(" + ");
  const own = `${regions.length} regions (${sizes} positions) determine the first ${stagesOf(determined)}`;
  const given = stages === determined ? "" : `; ${stages} ${stages === 1 ? "follows" : "follow"} the drawing`;
  const mixed = hierarchy[stages - 1].mixed.length;
  const left = mixed ? `, ${mixed} ${mixed === 1 ? "cluster" : "clusters"} of the last one mixed` : "";
  return `${own}${given}${left}.`;
}

const stagesOf = count => `${count} ${count === 1 ? "stage" : "stages"}`;

function frame({ stage, clusters, labels, mixed, mixed_fraction, given }) {
  const canvas = make("canvas", { width: 160, height: 160 });
  const bad = new Set(mixed);
  drawLabels(canvas, labels, stage, state.run.grid, position => bad.has(labels[position]));
  const share = `${Math.round(100 * mixed_fraction)} %`;
  const words = mixed.length ? `${mixed.length} mixed, ${share}` : "none mixed";
  const whose = given ? "from the drawing" : "sampled";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `stage ${stage}: ${clusters} clusters, ${words}, ${whose}`);
  return make("figure", { class: given ? "given" : "sampled" }, canvas,
    make("figcaption", {}, make("b", { text: `stage ${stage}` }), make("br"), given ? words : whose));
}

