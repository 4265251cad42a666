/* The reference of Keep and Edit: a result, a row of the store, or a photo. */

import { get, post, postFile } from "./api.js";
import { attempt, button, fileButton, find, make, onFile, picture, roving, say, setStop } from "./dom.js";
import { takeClass } from "./form.js";
import { on, set, shownReference, state } from "./state.js";

const ROWS = 24; // of the store at once

const wanted = { search: "", class: "", offset: 0 };
let turn = 0;

/** Build both choosers, one of each part that needs a reference. */
export function openReference() {
  for (const host of document.querySelectorAll("[data-part=reference]")) {
    const { run } = state;
    const own = button("The shown image", takeShown, { "data-part": "own" });
    const bar = make("div", { class: "group" }, own);
    if (run.store?.usable) bar.append(button("A row of the store", () => openRows(host), { "data-part": "row" }));
    if (run.photo) {
      bar.append(fileButton("A photo", "image/*", takePhoto));
      onFile(host, takePhoto);
    }
    host.append(bar, make("div", { class: "rows", hidden: true }), make("p", { class: "hint", "data-part": "name" }));
  }
  on("shown image reference", refresh);
  refresh();
}

function refresh() {
  for (const own of document.querySelectorAll("[data-part=own]")) own.disabled = !state.shown?.images;
  const { reference, run } = state;
  const sources = ["an image that you made", run.store?.usable && "a row of the store", run.photo && "a photo"];
  const none = `Choose ${sources.filter(Boolean).join(", ").replace(/, ([^,]*)$/, " or $1")}.`;
  for (const line of document.querySelectorAll("[data-part=name]"))
    line.textContent = reference ? `Reference: ${reference.name}` : none;
}

function use(reference) {
  for (const rows of document.querySelectorAll(".rows")) rows.hidden = true;
  takeClass(reference.label);
  set({ reference });
  say(`Reference: ${reference.name}`);
}

function takeShown() {
  const reference = shownReference();
  if (reference) use(reference);
}

/** A photo through the tokenizer of the run. */
export function takePhoto(file) {
  return attempt(async () => {
    say(`Reading ${file.name} …`);
    const found = await postFile("api/photo", file, state.run.limits.upload_bytes);
    use({ reference: found.reference, film: found.film, name: file.name, label: null, picture: found.picture });
  });
}

/** A row of the store, by its number. */
export function takeRow(row) {
  return attempt(async () => {
    if (!state.run.store?.usable) throw new Error("This studio has no store of the run: start it with --store.");
    const reference = { store: state.run.store.path, row };
    const found = await post("api/film", { reference });
    use({ reference, film: found.film, name: `row ${row}, ${found.name}`, label: found.label });
  });
}

/** The reference of a restored request. */
export async function restoreReference(reference) {
  const found = await post("api/film", { reference });
  const name = "row" in reference ? `row ${reference.row}, ${found.name}` : reference.name;
  set({ reference: { reference, film: found.film, name, label: found.label } });
}

function openRows(host) {
  const box = host.querySelector(".rows");
  box.hidden = !box.hidden;
  if (box.hidden) return;
  const search = make("input", { type: "search", placeholder: "part of a key", "aria-label": "Key of the row", value: wanted.search });
  const names = [...new Set(state.run.classes)];
  const chosen = make("select", { "aria-label": "Class of the row" }, make("option", { value: "", text: "all classes" }),
    ...names.map(name => make("option", { value: name, text: name })));
  chosen.value = wanted.class;
  const list = make("div", { class: "thumbs" });
  roving(list);
  const ask = fields => {
    Object.assign(wanted, { offset: 0 }, fields);
    showRows(list, count);
  };
  const count = make("span", { role: "status" });
  const by = step => ask({ offset: Math.max(0, wanted.offset + step * ROWS) });
  search.addEventListener("input", () => ask({ search: search.value }));
  chosen.addEventListener("change", () => ask({ class: chosen.value }));
  box.replaceChildren(make("div", { class: "row" }, search, chosen), list,
    make("div", { class: "row" }, button("Earlier", () => by(-1)), button("Later", () => by(1)), count));
  showRows(list, count);
  search.focus();
}

function showRows(list, count) {
  return attempt(async () => {
    const mine = ++turn;
    const query = new URLSearchParams({ ...wanted, split: "", status: "ok", count: ROWS });
    const { total, items } = await get(`store/list?${query}`);
    if (mine !== turn) return;
    list.replaceChildren(...items.map(item => {
      const one = button("", () => takeRow(item.row), { title: item.key, "aria-label": `row ${item.row}, ${item.key}` });
      one.append(picture(`store/${item.thumb}`, "", { loading: "lazy" }), make("span", { text: item.class || `row ${item.row}` }));
      return one;
    }));
    setStop(list);
    const first = total ? wanted.offset + 1 : 0;
    count.textContent = `${first} to ${Math.min(total, wanted.offset + ROWS)} of ${total.toLocaleString("en")}`;
  });
}
