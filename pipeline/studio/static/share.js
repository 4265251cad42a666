/* Share: what repeats a result, its files, and requests that come back from files. */

import { postFile, postForFile } from "./api.js";
import { attempt, button, bytesOf, copy, fileButton, find, make, onFile, save } from "./dom.js";
import { className, imageName, on, state } from "./state.js";

const MOST_SHEET = 16; // images of a sheet
const TEXTS = [
  ["request", "Request"],
  ["command", "Command line"],
  ["python", "Python"],
];

/**
 * `restore(answer)` takes a request that was in a file; `otherwise[part]` takes a file that is
 * dropped while that part is open and carries none.
 */
export function openShare(restore, otherwise) {
  const ask = file => postFile("api/restore", file, state.run.limits.upload_bytes);
  const take = file => attempt(async () => restore(await ask(file)));
  const takeAny = file => attempt(async () => {
    const found = await ask(file).catch(error => {
      if (!otherwise[state.part]) throw error;
    });
    return found ? restore(found) : otherwise[state.part](file);
  });
  find("restore").append(fileButton("Open a PNG or a request", "image/png,application/json,.json", take));
  onFile(find("restore"), take);
  onFile(document.body, takeAny);
  on("shown image part", show);
  show();
}

function show() {
  const result = state.shown;
  const body = find("share-body");
  find("share-none").hidden = Boolean(result?.images);
  if (!result?.images) return body.replaceChildren();
  if (state.part !== "share") return;
  body.replaceChildren(
    make("h2", { text: imageName(result, state.image) }),
    downloads(result, state.image),
    ...TEXTS.map(([key, words]) => textBox(words, textOf(result, key))),
    filesNote(result),
  );
}

const textOf = (result, key) => (key === "request" ? inLines(result.request) : result[key]);

/** JSON with a line for each field; a list of numbers or words stays in one. */
const inLines = data =>
  JSON.stringify(data, null, 1).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, inner) => `[${inner.replace(/\s+/g, " ")}]`);

function textBox(words, text) {
  const shown = make("pre", { tabindex: 0, "aria-label": words, text });
  return make("section", { class: "text", "data-text": words },
    make("div", { class: "row" }, make("h3", { text: words }), button("Copy", () => copy(text, shown), { "aria-label": `Copy: ${words}` })),
    shown);
}

/** The command reads a drawing, a mask or tokens from files: here they are. */
function filesNote(result) {
  if (!result.files?.length) return "";
  return make("p", { class: "row" },
    `Command and Python read ${result.files.join(", ")} from the current folder: `,
    button("Download these files", () => fetchFile("api/files/bundle", result.request)));
}

const fetchFile = (path, data) => attempt(async () => {
  const { blob, name } = await postForFile(path, data);
  save(blob, name);
});

/** An image of a result as a reference, for sheets and films. */
function tokensOf(result, image) {
  const { leaves, content } = result.images[image];
  return { leaves, content, tokenizer: state.run.tokenizer, name: imageName(result, image) };
}

function downloads(result, image) {
  const { label, png } = result.images[image];
  const stem = `${className(label).replace(/[^\w-]+/g, "-").slice(0, 40)}-seed${result.request.seed}-${image + 1}`;
  const own = tokensOf(result, image);
  const all = result.images.map((_, n) => tokensOf(result, n));
  const { classes, number } = result.request;
  const names = classes.length ? classes.map(className) : [""];
  return make("div", { class: "group", "aria-label": "Downloads", role: "group" },
    button("PNG", () => save(new Blob([bytesOf(png)], { type: "image/png" }), `${stem}.png`)),
    button("GIF of the stages", () => fetchFile("api/files/gif", { reference: own })),
    button("Sheet", () => fetchFile("api/files/sheet", { references: [own, ...all.filter((_, n) => n !== image)].slice(0, MOST_SHEET) })),
    button("Contact sheet", () => fetchFile("api/files/contact", { references: all, names, columns: number })),
    button("Request (JSON)", () => save(new Blob([JSON.stringify(result.request)], { type: "application/json" }), `${stem}.json`)));
}
