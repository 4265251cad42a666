/* Keep: what each stage takes from a reference. After the first stage drawn anew, all are. */

import { find, make, picture } from "./dom.js";
import { on, state } from "./state.js";

const WORDS = { all: "structure and content", structure: "structure", anew: "draw anew" };

let keep = []; // of each stage

export function openKeep() {
  // As a start, the coarse half of the stages gives its structure.
  const half = Math.ceil(state.run.stages / 2);
  keep = Array.from({ length: state.run.stages }, (_, stage) => (stage < half ? "structure" : "anew"));
  for (const what of ["structure", "all"]) find(`keep-${what}`).addEventListener("click", () => keepAll(what));
  on("reference", show);
  show();
}

function keepAll(what) {
  keep = keep.map(each => (each === "anew" ? "anew" : what));
  show();
}

/** The rule of a hierarchy: the map of a stage fixes those of the stages before it. */
export function withChoice(choices, stage, what) {
  return choices.map((each, n) => {
    if (n === stage) return what;
    if (what === "anew") return n > stage ? "anew" : each;
    return n < stage && each === "anew" ? what : each;
  });
}

/** The part of a request that is kept. */
export function readKeep() {
  if (!state.reference) throw new Error("Choose a reference first.");
  if (keep.every(each => each === "anew")) throw new Error("Keep at least the first stage, or use Make.");
  return { reference: state.reference.reference, keep };
}

/** Show the choices of a request. */
export function fillKeep(choices) {
  keep = [...choices];
  show();
}

function show() {
  const { reference } = state;
  find("keep-body").hidden = !reference;
  if (!reference) return;
  find("keep-stages").replaceChildren(...reference.film.map(stageRow));
  mark();
}

function stageRow({ stage, structure, canvas }) {
  const options = Object.entries(WORDS).map(([what, words]) => {
    const input = make("input", { type: "radio", name: `keep-${stage}`, value: what, checked: keep[stage] === what });
    input.addEventListener("change", () => {
      keep = withChoice(keep, stage, what);
      mark();
    });
    return make("label", {}, input, words);
  });
  const clusters = `${2 ** stage} ${stage ? "clusters" : "cluster"}`;
  return make("fieldset", { class: "keep-row", "data-stage": stage },
    make("legend", {}, make("b", { text: `Stage ${stage}` }), ` · ${clusters}`),
    make("span", { class: "two" }, picture(structure, `structure of stage ${stage}`), picture(canvas, `canvas after stage ${stage}`)),
    make("span", { class: "options" }, ...options));
}

/** Show the choices in the rows that are there, so that the focus stays. */
function mark() {
  for (const row of find("keep-stages").children) {
    const what = keep[Number(row.dataset.stage)];
    row.dataset.keep = what;
    for (const input of row.querySelectorAll("input")) input.checked = input.value === what;
  }
}
