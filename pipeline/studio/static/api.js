/* All that the page asks of its server. Addresses are relative: nothing else is ever asked. */

/** The JSON of an answer; the server's line as an error otherwise. */
async function answer(reply) {
  if (reply.ok) return reply.status === 204 ? null : reply.json();
  throw new Error(await reason(reply));
}

async function reason(reply) {
  const text = await reply.text();
  try {
    return JSON.parse(text).error || text;
  } catch {
    return text || `the server answers ${reply.status}`;
  }
}

async function ask(path, options = {}) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("the studio does not answer: is `nvgctl studio` still running?");
  }
}

const posted = (path, body, headers) => ask(path, { method: "POST", body, headers });
const JSON_TYPE = { "Content-Type": "application/json" };

export const get = async path => answer(await ask(path));
export const post = async (path, data) => answer(await posted(path, JSON.stringify(data), JSON_TYPE));
export const remove = async path => answer(await ask(path, { method: "DELETE" }));

/** Send the bytes of a file; files over the server's limit are refused before they travel. */
export async function postFile(path, file, limit) {
  if (file.size > limit) {
    const most = Math.floor(limit / 2 ** 20);
    throw new Error(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MiB: ${most} MiB are taken`);
  }
  const headers = { "Content-Type": "application/octet-stream", "X-Name": encodeURIComponent(file.name) };
  return answer(await posted(path, file, headers));
}

/** A file that the server makes: its bytes and its name. */
export async function postForFile(path, data) {
  const reply = await posted(path, JSON.stringify(data), JSON_TYPE);
  if (!reply.ok) throw new Error(await reason(reply));
  const named = /filename="?([^";]+)"?/.exec(reply.headers.get("Content-Disposition") || "");
  return { blob: await reply.blob(), name: named ? named[1] : path.split("/").pop() };
}

const ENDS = ["done", "cancelled", "error"];

/**
 * Follow the events of a job until it ends. `take(name, data)` gets each event; a connection that
 * the browser cannot resume ends as an error event.
 */
export function follow(id, take) {
  const stream = new EventSource(`api/jobs/${id}/events`);
  const end = (name, data) => {
    stream.close();
    take(name, data);
  };
  for (const name of ["queued", "started", "progress", "stage"])
    stream.addEventListener(name, event => take(name, JSON.parse(event.data)));
  for (const name of ENDS)
    stream.addEventListener(name, event => {
      // The browser's own "error" has no data: it reconnects by itself, unless it gave up.
      if (event.data !== undefined) end(name, JSON.parse(event.data));
      else if (stream.readyState === EventSource.CLOSED)
        end("error", { error: "the connection to the studio is lost: make it again" });
    });
  return () => stream.close();
}
