/* Two pictures: one behind the other with a slider, or side by side with their stages. */

import { button, find, make, picture } from "./dom.js";
import { on, set, state } from "./state.js";

/** Before, uncovered from the left, over after; a slider moves the border. */
export function beforeAfter(before, after, names = ["before", "after"]) {
  const top = picture(before, names[0], { class: "top" });
  const border = make("i");
  const slider = make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `border between ${names[0]} and ${names[1]}` });
  const move = () => {
    top.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    border.style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} % ${names[0]}`);
  };
  slider.addEventListener("input", move);
  move();
  const stack = make("div", { class: "stack" }, picture(after, names[1]), top, border);
  // The picture itself is a handle too.
  const drag = event => {
    if (!event.buttons) return;
    const box = stack.getBoundingClientRect();
    slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    move();
  };
  for (const name of ["pointerdown", "pointermove"]) stack.addEventListener(name, drag);
  const ends = make("div", { class: "ends" }, ...names.map(text => make("span", { text })));
  return make("div", { class: "before-after" }, stack, slider, ends);
}

/** Put an image into the pair; a third takes the place of the older. */
export function addToPair(one) {
  const others = state.pair.filter(each => each.name !== one.name);
  set({ pair: [...others, one].slice(-2) });
}

let stage = null; // of the pair; null: the last

export function openPair() {
  find("pair-clear").addEventListener("click", () => set({ pair: [] }));
  on("pair", showPair);
}

function showPair() {
  const { pair } = state;
  find("beside").hidden = pair.length === 0;
  if (!pair.length) return;
  const last = Math.min(...pair.map(each => each.film.length)) - 1;
  const at = Math.min(stage ?? last, last);
  const figures = pair.map(({ name, film }) => make("figure", {},
    make("div", { class: "two" }, picture(film[at].structure, `structure of ${name}`), picture(film[at].canvas, `canvas of ${name}`)),
    make("figcaption", { text: name })));
  if (pair.length === 1) figures.push(make("p", { class: "hint", text: "Put a second image beside it: choose one above, then “Put side by side”." }));
  const sides = make("div", { class: "sides" }, ...figures);
  find("beside-body").replaceChildren(sides, stageSlider(last, at));
  if (pair.length < 2) return;
  const [first, second] = pair.map(each => each.film[at].canvas);
  find("beside-body").append(beforeAfter(first, second, pair.map(each => each.name)));
}

function stageSlider(last, at) {
  const slider = make("input", { type: "range", min: 0, max: last, value: at, id: "pair-slider" });
  slider.addEventListener("input", () => {
    stage = Number(slider.value);
    showPair();
    find("pair-slider").focus();
  });
  const swap = button("Swap", () => set({ pair: state.pair.toReversed() }));
  swap.disabled = state.pair.length < 2;
  return make("div", { class: "row" }, make("label", {}, "Stage ", slider, make("output", { text: at })), swap);
}
