/* The results of the visit. Requests outlive a reload; their images are made again, the same. */

import { attempt, button, find, make, picture, roving, setStop } from "./dom.js";
import { start } from "./jobs.js";
import { className, on, set, state, tell } from "./state.js";
import { steering } from "./film.js";

const KEY = "nvg-studio-visit";
const MOST = 60; // results that are listed
const MOST_KEPT = 20_000; // characters of a picture that outlives a reload: a tab stores a few MB
const MOST_IMAGES = 512; // images of older results are let go beyond so many

export function openHistory() {
  restoreVisit();
  roving(find("history"));
  find("history-clear").addEventListener("click", () => {
    state.results = state.results.filter(each => each.status === "running" || each.status === "queued");
    tell("results");
  });
  on("results shown", show);
  on("results", () => {
    letGo();
    keepVisit();
  });
  show();
}

/** The requests of this tab before it was loaded again. */
function restoreVisit() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) || "null");
    if (kept?.run !== state.run.run) return;
    state.results = kept.results.map(each => ({ ...each, stages: [], images: null, status: "kept" }));
  } catch {
    sessionStorage.removeItem(KEY);
  }
}

function keepVisit() {
  const results = state.results
    .filter(each => each.status === "done" || each.status === "kept")
    .map(({ number, part, request, labels, before }) =>
      ({ number, part, request, labels, before: before?.length < MOST_KEPT ? before : undefined }));
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ run: state.run.run, results }));
  } catch {
    sessionStorage.removeItem(KEY); // full: the visit stays in this page
  }
}

/** Bound the memory: old results keep their request only. */
function letGo() {
  state.results = state.results.slice(-MOST);
  let images = 0;
  for (const result of state.results.toReversed()) {
    images += result.images?.length ?? 0;
    if (images <= MOST_IMAGES || result === state.shown || result.status !== "done") continue;
    Object.assign(result, { stages: [], images: null, status: "kept" });
  }
}

function show() {
  find("past").hidden = state.results.length === 0;
  const list = find("history");
  list.replaceChildren(...state.results.toReversed().map(entry));
  setStop(list, list.querySelector("[aria-pressed=true]"));
}

function entry(result) {
  const image = result.stages.at(-1)?.images[0].canvas;
  const names = [...new Set(result.labels)].map(className);
  const words = `result ${result.number}: ${names.slice(0, 4).join(", ")}, seed ${result.request.seed}${steering(result.request)}`;
  const again = result.status === "kept" ? ", make again" : "";
  const one = button("", () => open(result), { "aria-label": words + again, title: words + again, "aria-pressed": String(result === state.shown) });
  one.append(image ? picture(image, "") : make("span", { class: "gone", text: "again" }));
  one.append(make("span", { text: `${result.number} · ${result.part}` }));
  return one;
}

function open(result) {
  if (result.status === "kept") return attempt(() => start(result.request, result.part, result));
  const stage = Math.max(result.stages.length - 1, 0);
  return set({ shown: result, image: 0, stage, following: true });
}
