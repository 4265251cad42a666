/* What was made: the images of a result, the film strip of one of them, the slider of stages. */

import { button, find, make, picture, roving, setStop } from "./dom.js";
import { className, filmOf, imageName, on, set, shownReference, state } from "./state.js";
import { beforeAfter, addToPair } from "./compare.js";

export function openFilm() {
  find("stage").addEventListener("input", event =>
    set({ following: Number(event.target.value) === lastStage(), stage: Number(event.target.value) }));
  find("play").addEventListener("click", play);
  find("to-keep").addEventListener("click", () => goOn("keep"));
  find("to-edit").addEventListener("click", () => goOn("edit"));
  find("to-share").addEventListener("click", () => set({ part: "share" }));
  find("to-pair").addEventListener("click", () => {
    const { shown, image } = state;
    addToPair({ name: imageName(shown, image), film: filmOf(shown, image) });
  });
  roving(find("images"), "button", one => one.click());
  roving(find("strip"), "button", one => one.click());
  on("shown", showResult);
  on("image", () => { markImage(); showFilm(); });
  on("stage", showStage);
}

const lastStage = () => (state.shown?.stages.length ?? 0) - 1;

/** Take the shown image as the reference of another part. */
function goOn(part) {
  const reference = shownReference();
  if (reference) set({ reference, part });
}

/** Each stage for a moment, from the first. */
function play() {
  const result = state.shown;
  const step = stage => {
    if (state.shown !== result || stage > lastStage()) return;
    set({ stage, following: stage === lastStage() });
    setTimeout(step, 450, stage + 1);
  };
  step(0);
}

function showResult() {
  const result = state.shown;
  find("table").hidden = !result;
  find("empty").hidden = Boolean(result);
  if (!result) return;
  state.image = Math.min(state.image, result.labels.length - 1);
  const { seed, number } = result.request;
  const names = [...new Set(result.labels)].map(className);
  const listed = names.slice(0, 6).join(", ") + (names.length > 6 ? ", …" : "");
  find("result-name").textContent = `Result ${result.number}: ${listed}`;
  const state_ = result.status === "done" ? "" : ` · ${result.status}`;
  find("result-facts").textContent = `${number} each, seed ${seed}${steering(result.request)}${state_}`;
  showImages(result);
  showFilm();
}

/** How a request is steered, in words. */
export function steering({ drawing, keep, region }) {
  if (drawing) return ", follows a drawing";
  if (keep) return ", keeps stages of a reference";
  if (region) return ", one region redrawn";
  return "";
}

function showImages(result) {
  const box = find("images");
  if (box.children.length !== result.labels.length || box.dataset.result !== String(result.number)) {
    box.dataset.result = result.number;
    box.replaceChildren(...result.labels.map((label, n) =>
      button("", () => set({ image: n }), { "aria-label": `image ${n + 1}, ${className(label)}` })));
  }
  markImage();
}

function markImage() {
  const all = [...find("images").children];
  all.forEach((one, n) => one.setAttribute("aria-pressed", String(n === state.image)));
  setStop(find("images"), all[state.image]);
}

/** The frames of the shown image. */
function showFilm() {
  const result = state.shown;
  if (!result) return;
  const slider = find("stage");
  slider.max = Math.max(lastStage(), 0);
  const film = filmOf(result, state.image);
  find("strip").replaceChildren(...film.map(({ stage, structure, canvas }) => {
    const one = button("", () => set({ stage, following: stage === lastStage() }), {
      "data-stage": stage, "aria-label": `stage ${stage}, ${2 ** stage} clusters`,
    });
    one.append(picture(structure, ""), picture(canvas, ""), make("span", { text: stage }));
    return one;
  }));
  for (const id of ["to-keep", "to-edit", "to-share"]) find(id).disabled = !result.images;
  find("to-pair").disabled = result.stages.length === 0;
  showStage();
  showBefore(result);
}

/** The big pair, the images of the table and the slider, at one stage. */
function showStage() {
  const result = state.shown;
  if (!result) return;
  const at = Math.min(state.stage, lastStage());
  find("pair").hidden = at < 0;
  if (at < 0) return;
  find("stage").value = at;
  find("stage-number").textContent = `${at} of ${state.run.K}`;
  const { structure, canvas } = result.stages[at].images[state.image];
  const name = `${imageName(result, state.image)}, stage ${at}`;
  const clusters = 2 ** at;
  find("pair-structure").src = structure;
  find("pair-structure").alt = `structure of ${name}`;
  find("pair-clusters").textContent = `structure, ${clusters} ${clusters === 1 ? "cluster" : "clusters"}`;
  find("pair-canvas").src = canvas;
  find("pair-canvas").alt = `canvas of ${name}`;
  find("pair-stage").textContent = `canvas after stage ${at}`;
  [...find("images").children].forEach((one, n) => {
    const src = result.stages[at].images[n].canvas;
    if (one.firstChild) one.firstChild.src = src;
    else one.append(picture(src, ""), make("span", { text: className(result.labels[n]) }));
  });
  for (const one of find("strip").children)
    one.setAttribute("aria-pressed", String(Number(one.dataset.stage) === at));
  setStop(find("strip"), find("strip").children[at]);
  scrollTo(find("strip"), find("strip").children[at]);
}

/** Move a strip that is wider than its place so that one of its frames is seen; the page stays. */
function scrollTo(strip, frame) {
  const place = strip.getBoundingClientRect();
  const { left, right } = frame.getBoundingClientRect();
  if (left < place.left) strip.scrollLeft -= place.left - left;
  if (right > place.right) strip.scrollLeft += right - place.right;
}

/** An edited image beside what it was. */
function showBefore(result) {
  const box = find("before-after");
  const isEdit = Boolean(result.images && result.before && result.request.region);
  box.hidden = !isEdit;
  if (!isEdit) return box.replaceChildren();
  const after = result.stages.at(-1).images[state.image].canvas;
  box.replaceChildren(beforeAfter(result.before, after));
}
