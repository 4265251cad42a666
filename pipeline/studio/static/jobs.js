/* Making images: a request goes out, stages come in. One job of this page at a time. */

import { follow, post, remove } from "./api.js";
import { find, say } from "./dom.js";
import { set, state, tell } from "./state.js";

let active = null; // {id, result, close}
let made = 0;

export const isBusy = () => active !== null;

/**
 * Send a request and show what comes back. `into` is a result whose images are gone and are made
 * again. An Error when the server refuses.
 */
export async function start(request, part, into = null) {
  if (active) throw new Error("Images are being made: wait, or cancel first.");
  active = { id: null };
  try {
    const job = await post("api/jobs", request);
    const result = into ?? { number: nextNumber(), part };
    const fresh = { request: job.request, labels: job.labels, stages: [], images: null, status: "queued" };
    Object.assign(result, fresh, { progress: null, place: job.place });
    active = { id: job.id, result, close: follow(job.id, (name, data) => take(result, name, data)) };
    if (!into) state.results.push(result);
    set({ shown: result, image: 0, stage: 0, following: true });
    tell("results");
    showProgress();
  } catch (error) {
    active = null;
    showProgress();
    throw error;
  }
}

/** Numbers go on after those of a visit that was reloaded. */
function nextNumber() {
  made = Math.max(made, ...state.results.map(each => each.number)) + 1;
  return made;
}

export async function cancel() {
  if (active?.id) await remove(`api/jobs/${active.id}`);
}

const TAKE = {
  queued: (result, data) => { result.place = data.place; },
  started: result => { result.status = "running"; },
  progress: (result, data) => { result.progress = data; },
  stage: (result, data) => {
    result.stages.push(data);
    if (state.shown === result && state.following) state.stage = data.stage;
  },
  done: (result, data) => Object.assign(result, data, { status: "done" }),
  cancelled: result => { result.status = "cancelled"; },
  error: (result, data) => Object.assign(result, { status: "error", error: data.error }),
};

function take(result, name, data) {
  // After a reconnection the server may repeat a stage.
  if (name === "stage" && result.stages.some(each => each.stage === data.stage)) return;
  TAKE[name](result, data);
  if (["done", "cancelled", "error"].includes(name)) finish(result, name);
  if (name !== "progress" && state.shown === result) tell("shown");
  showProgress();
}

function finish(result, name) {
  active = null;
  const count = result.labels.length;
  const said = {
    done: `${count} ${count === 1 ? "image" : "images"} in ${Number(result.seconds).toFixed(1)} s`,
    cancelled: "Cancelled.",
    error: result.error,
  };
  say(said[name], name === "error");
  // What never showed a picture leaves no trace.
  if (name !== "done" && !result.stages.length) {
    state.results = state.results.filter(each => each !== result);
    if (state.shown === result) state.shown = state.results.findLast(each => each.images) ?? null;
  }
  tell("results");
}

/** The bar, its words, and which button is there. */
function showProgress() {
  const result = active?.result;
  swapButtons(active !== null);
  find("progress-box").hidden = !result;
  if (!result) return;
  const bar = find("progress");
  if (result.progress) {
    bar.max = result.progress.of;
    bar.value = result.progress.done;
  } else bar.removeAttribute("value");
  find("progress-text").textContent = progressText(result);
}

/** Make or Cancel; the focus goes with what it was on. */
function swapButtons(busy) {
  const [go, stop] = [find("make"), find("cancel")];
  const focused = document.activeElement;
  if (busy) stop.hidden = false;
  else go.disabled = false;
  if (focused === (busy ? go : stop)) (busy ? stop : go).focus();
  stop.hidden = !busy;
  go.disabled = busy;
}

function progressText({ status, place, progress }) {
  if (status === "queued") return place > 0 ? `Waiting: ${place} before this` : "Starting";
  if (!progress) return "Starting";
  const left = progress.seconds_left;
  const time = left === null || left === undefined ? "" : `, about ${left < 10 ? left.toFixed(1) : Math.round(left)} s left`;
  return `Stage ${progress.stage} of ${state.run.K}${time}`;
}
