/* What the parts of the page share: the run, the results of the visit, and what is chosen. */

export const PARTS = ["make", "draw", "keep", "edit", "share"];

/**
 * A result: {number, part, request, labels, stages, images, status, ...}. `stages` grows while it
 * is made; `images` come at the end. Status: queued, running, done, cancelled, error, or
 * "kept" where only the request is left, from which the same images can be made again.
 */
export const state = {
  run: null,
  part: "make",
  results: [],
  shown: null, // the result that is seen
  image: 0, // of it
  stage: 0,
  following: true, // the stage slider follows what arrives
  reference: null, // {reference, film, name, label}
  pair: [], // two of {name, film}, side by side
};

const listeners = new Map();

/** Call when a topic changes: run, part, results, shown, image, stage, reference, pair. */
export function on(topics, call) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, []);
    listeners.get(topic).push(call);
  }
}

export function tell(topic) {
  for (const call of listeners.get(topic) || []) call();
}

/** Change fields, then tell of each. */
export function set(fields) {
  Object.assign(state, fields);
  for (const topic of Object.keys(fields)) tell(topic);
}

/** Structure and canvas of one image of a result, for every stage that is there. */
export const filmOf = (result, image) =>
  result.stages.map(({ stage, images }) => ({ stage, ...images[image] }));

/** The name of a class id, for people. */
export function className(label) {
  if (label === null || label === undefined || label < 0) return "no class";
  return state.run.classes[label] ?? `class ${label}`;
}

/** The name of an image of a result. */
export const imageName = (result, image) => `result ${result.number}, image ${image + 1}`;

/** The shown image as a reference, or null while it is not finished. */
export function shownReference() {
  const { shown, image, run } = state;
  if (!shown?.images) return null;
  const { leaves, content, label } = shown.images[image];
  const name = imageName(shown, image);
  const reference = { leaves, content, tokenizer: run.tokenizer, name };
  return { reference, film: filmOf(shown, image), name, label };
}
