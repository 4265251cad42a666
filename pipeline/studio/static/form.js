/* The common part of every request: classes, number, seed, and the settings of sampling. */

import { ClassPicker } from "./classes.js";
import { find, make } from "./dom.js";
import { on, state } from "./state.js";

/* key, words, limits; the first ones are in sight, the others under "more settings". */
const NUMBERS = {
  content_guidance: ["Guidance", { min: 0, step: 0.5 }],
  structure_guidance: ["Guidance of the structure", { min: 0, step: 0.5 }],
  top_p: ["Top-p", { min: 0.01, max: 1, step: 0.05 }],
  flow_steps: ["Flow steps", { min: 1, step: 1 }],
  temperature: ["Temperature", { min: 0.01, step: 0.1 }],
  top_k: ["Top-k (0: off)", { min: 0, step: 1 }],
};
const IN_SIGHT = ["content_guidance", "structure_guidance", "top_p", "flow_steps", "solver"];
const WORDS = {
  solver: "Solver", split: "Split of parents", last_split: "Last split", top_p_curve: "Top-p curve",
  time_grid: "Times of the flow", flow_noise: "Noise of the flow", structure_guidance_of: "Structure guidance by",
};
const MOST_SEED = 1_000_000; // of those that are drawn; any other can be typed

const fields = new Map(); // key -> {input, note}
let picker = null;

/** Build the form for the run. */
export function openForm() {
  picker = new ClassPicker(state.run.classes, refresh);
  if (state.run.classes.length) picker.choose([0]);
  for (const key of Object.keys(state.run.defaults)) addField(key);
  find("number").max = state.run.limits.images;
  find("new-seed").addEventListener("click", () => {
    find("seed").value = Math.floor(Math.random() * MOST_SEED);
  });
  find("reset").addEventListener("click", () => setSettings({}));
  for (const id of ["number", "seed"]) find(id).addEventListener("input", refresh);
  on("part", () => {
    find("settings-part").open = state.part === "make";
    refresh();
  });
  on("shown", refresh);
  setSettings({});
}

function addField(key) {
  const limits = { ...NUMBERS[key]?.[1] };
  if (key === "flow_steps") limits.max = state.run.limits.flow_steps;
  const choices = state.run.choices[key];
  const input = choices
    ? make("select", { id: `set-${key}` }, ...choices.map(value => make("option", { value, text: value })))
    : make("input", { id: `set-${key}`, type: "number", inputmode: "decimal", ...limits });
  const note = make("small", { class: "note" });
  const words = NUMBERS[key]?.[0] ?? WORDS[key] ?? key.replaceAll("_", " ");
  input.addEventListener("input", refresh);
  fields.set(key, { input, note, words });
  find(IN_SIGHT.includes(key) ? "settings" : "more-settings")
    .append(make("label", { class: "field", for: `set-${key}` }, make("span", { text: words }), input, note));
}

function setSettings(settings) {
  for (const [key, { input }] of fields) input.value = settings[key] ?? state.run.defaults[key];
  refresh();
}

/** Images that the form asks for. */
export const imagesAsked = () =>
  Math.max(picker.chosen.length, state.run.classes.length ? 0 : 1) * Number(find("number").value);

/** Only what differs from the run's recipe. */
function changedSettings() {
  const changed = {};
  for (const [key, { input }] of fields) {
    const value = input.type === "number" ? Number(input.value) : input.value;
    if (value !== state.run.defaults[key]) changed[key] = value;
  }
  return changed;
}

/** classes, number, seed, settings; an Error that says what is wrong. */
export function readForm() {
  if (state.run.classes.length && !picker.chosen.length) throw new Error("Choose a class.");
  const checked = [[find("number"), "number"], [find("seed"), "seed"]];
  for (const { input, words } of fields.values()) checked.push([input, words.toLowerCase()]);
  for (const [input, words] of checked) {
    const { badInput, valueMissing, rangeUnderflow, rangeOverflow } = input.validity;
    if (badInput || valueMissing || input.value === "") throw new Error(`${words}: give a number`);
    if (rangeUnderflow) throw new Error(`${words} must be at least ${input.min}`);
    if (rangeOverflow) throw new Error(`${words} must be at most ${input.max}`);
  }
  const most = state.run.limits.images;
  if (imagesAsked() > most)
    throw new Error(`${imagesAsked()} images are too many at once: ${most} at most; take fewer classes or a lower number`);
  return {
    classes: picker.chosen,
    number: Number(find("number").value),
    seed: Number(find("seed").value),
    settings: changedSettings(),
  };
}

/** Fill the form from a request. */
export function fillForm(request) {
  find("number").value = request.number;
  find("seed").value = request.seed;
  setSettings(request.settings ?? {});
  picker.choose(request.classes);
}

/** Take the class of a reference, where it has one. */
export function takeClass(label) {
  if (label !== null && label !== undefined && label >= 0) picker.choose([label]);
}

/** The words on the button, and which settings are not the recipe's. */
function refresh() {
  const changed = changedSettings();
  for (const [key, { input, note }] of fields) {
    const isChanged = key in changed;
    input.classList.toggle("changed", isChanged);
    note.textContent = isChanged ? `recipe: ${state.run.defaults[key]}` : "";
  }
  find("reset").disabled = Object.keys(changed).length === 0;
  const others = Object.keys(changed).length;
  find("settings-changed").textContent = others ? `${others} not as in the recipe` : "as in the recipe";
  const count = imagesAsked();
  const verb = { make: "Make", draw: "Make from the drawing:", keep: "Make variations:", edit: "Redraw the region:" }[state.part];
  find("make").textContent = `${verb ?? "Make"} ${count} ${count === 1 ? "image" : "images"}`;
}
