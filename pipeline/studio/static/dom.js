/* Small helpers over the document: nodes, groups of buttons, files, copies. */

export const find = id => document.getElementById(id);

/** A node with attributes, listeners (`onclick: ...`), text and children. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false && value !== undefined)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** A button with text. */
export const button = (text, onclick, attributes = {}) =>
  make("button", { type: "button", text, onclick, ...attributes });

/** A picture of the run: small ones are enlarged without blur. */
export const picture = (src, alt, attributes = {}) =>
  make("img", { src, alt, draggable: "false", ...attributes });

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** A group of buttons is one stop of the Tab key; arrows, Home and End walk inside it. */
export function roving(box, selector = "button", onmove = null) {
  box.addEventListener("keydown", event => {
    const all = [...box.querySelectorAll(selector)].filter(node => !node.disabled && !node.hidden);
    const at = all.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    let to = at + (STEPS[event.key] || 0);
    if (event.key === "Home") to = 0;
    else if (event.key === "End") to = all.length - 1;
    else if (!STEPS[event.key]) return;
    event.preventDefault();
    const next = all[Math.min(Math.max(to, 0), all.length - 1)];
    setStop(box, next, selector);
    next.focus();
    onmove?.(next);
  });
}

/** The button of a group that Tab reaches: the given one, or the first. */
export function setStop(box, chosen = null, selector = "button") {
  const all = [...box.querySelectorAll(selector)];
  const stop = all.includes(chosen) ? chosen : all.find(node => !node.hidden);
  for (const node of all) node.tabIndex = node === stop ? 0 : -1;
}

/** Say a line to those who look and to those who listen. */
export function say(text, isError = false) {
  const line = find("said");
  line.textContent = text;
  line.classList.toggle("error", isError);
  clearTimeout(leaving);
  // On a narrow page the line lies over the others, so good news leave by themselves.
  if (text && !isError && isNarrow()) leaving = setTimeout(say, READ, "");
}

const READ = 6000; // milliseconds
let leaving = null;

/** The request stands above the results, not beside them. */
export const isNarrow = () => matchMedia("(max-width: 899px)").matches;

/** Run a step; its error becomes the line, and the answer is undefined. */
export async function attempt(step) {
  try {
    return await step();
  } catch (error) {
    say(String(error.message || error), true);
    return undefined;
  }
}

/** The bytes of a data URI. */
export function bytesOf(uri) {
  const text = atob(uri.slice(uri.indexOf(",") + 1));
  return Uint8Array.from(text, letter => letter.charCodeAt(0));
}

/** Save a file through the browser. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Copy text; where the browser forbids it, select it instead. */
export async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(node);
    say("Selected: press Ctrl+C to copy.");
  }
}

/** Let a node take dropped files. */
export function onFile(node, take) {
  const over = on => event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    node.classList.toggle("over", on);
  };
  node.addEventListener("dragover", over(true));
  node.addEventListener("dragleave", over(false));
  node.addEventListener("drop", event => {
    over(false)(event);
    if (event.dataTransfer?.files.length) take(event.dataTransfer.files[0]);
  });
}

/** Open the dialog of a hidden file input from a button of its own. */
export function fileButton(text, accept, take, attributes = {}) {
  const input = make("input", { type: "file", accept, hidden: true, "aria-hidden": "true" });
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
  return make("span", { class: "file" }, button(text, () => input.click(), attributes), input);
}
