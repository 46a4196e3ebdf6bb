// Asks the console by HTTP. An error is always an Error whose message can be shown.

import { record, text } from "./values.js";

let lock = () => {};

/** Says what to do when the console wants the token. */
export const whenLocked = (act) => {
  lock = act;
};

async function answered(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A body that is no JSON tells nothing more than the status.
  }
  if (response.ok) return body;
  if (response.status === 401) lock();
  const error = new Error(text(record(body).error, `The console answered ${response.status}.`));
  error.status = response.status;
  error.traceId = text(record(body).trace_id) || null;
  throw error;
}

async function sent(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(
      "The console does not answer: does what started it, such as `ensemble up`, still run?",
    );
  }
  return answered(response);
}

/** GETs JSON. */
export const ask = (path, signal) => sent(path, { signal });

/** POSTs JSON. */
export const tell = (path, body) =>
  sent(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
