/* The page's start: loads the run, opens the parts, sends what they ask for. */

import { get } from "./api.js";
import { openPair } from "./compare.js";
import { fillDrawing, importMap, openDraw, readDrawing } from "./draw.js";
import { attempt, find, isNarrow, make, roving, say, setStop } from "./dom.js";
import { before, fillEdit, openEdit, readEdit } from "./edit.js";
import { openFilm } from "./film.js";
import { fillForm, openForm, readForm } from "./form.js";
import { openHistory } from "./history.js";
import { cancel, isBusy, start } from "./jobs.js";
import { fillKeep, openKeep, readKeep } from "./keep.js";
import { openReference, restoreReference, takePhoto, takeRow } from "./reference.js";
import { openShare } from "./share.js";
import { on, PARTS, set, state, tell } from "./state.js";

const CONTROLS = { make: () => ({}), draw: readDrawing, keep: readKeep, edit: readEdit };

/** Send the request of the part that is open. */
function makeImages() {
  return attempt(async () => {
    const { part } = state;
    const request = { format: "nvg-request", version: 1, ...readForm(), ...CONTROLS[part]() };
    say("");
    await start(request, part);
    if (part === "edit") state.shown.before = before();
    if (isNarrow()) find("results").scrollIntoView({ block: "start" });
  });
}

/** Fill the page from the request of a file. */
async function restore({ request, image, warnings }) {
  if (request.reference) await restoreReference(request.reference);
  fillForm(request);
  if (request.drawing) fillDrawing(request.drawing);
  if (request.keep) fillKeep(request.keep);
  if (request.region) fillEdit(request.region);
  const part = request.drawing ? "draw" : request.keep ? "keep" : request.region ? "edit" : "make";
  set({ part });
  const which = image === null || image === undefined ? "" : ` (the file is its image ${image + 1})`;
  say([`The request is restored${which}: press the button to make it again.`, ...warnings].join(" "));
}

function openParts() {
  const tabs = find("parts");
  for (const tab of tabs.children) tab.addEventListener("click", () => set({ part: tab.dataset.part }));
  roving(tabs, "button", tab => tab.click());
  on("part", () => {
    for (const part of PARTS) {
      const tab = find(`tab-${part}`);
      tab.setAttribute("aria-selected", String(part === state.part));
      find(`panel-${part}`).hidden = part !== state.part;
    }
    setStop(tabs, find(`tab-${state.part}`));
    find("request").hidden = state.part === "share";
    history.replaceState(null, "", `#${state.part}`);
  });
}

/** `#row=12` opens that row in Keep; `#draw` opens a part. */
async function followAddress() {
  const row = /^#row=(\d+)$/.exec(location.hash);
  if (row) {
    set({ part: "keep" });
    return takeRow(Number(row[1]));
  }
  const part = location.hash.slice(1);
  return set({ part: PARTS.includes(part) ? part : "make" });
}

async function open() {
  state.run = await get("api/run");
  const { run, grid, K, device, store, image_size } = state.run;
  document.title = `${run} · NVG studio`;
  find("run-line").textContent = `${run} · ${image_size} pixels, grid ${grid}×${grid}, stages 0 to ${K} · ${device}`;
  if (store) find("run-line").append(" · ", make("a", { href: "store/", text: store.path, title: "Browse the store" }));
  document.body.classList.toggle("small-images", image_size <= 128);
  for (const start_ of [openForm, openDraw, openReference, openKeep, openEdit, openFilm, openPair, openHistory]) start_();
  const photo = state.run.photo ? takePhoto : undefined;
  openShare(restore, { draw: importMap, keep: photo, edit: photo });
  openParts();
  find("make").addEventListener("click", makeImages);
  find("cancel").addEventListener("click", () => attempt(cancel));
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && state.part !== "share" && !isBusy()) makeImages();
  });
  addEventListener("hashchange", followAddress);
  tell("shown");
  await followAddress();
  document.body.dataset.ready = "yes";
}

attempt(open);
