// Requests to the gateway's API.

import { language, t } from "./i18n.js";
import * as reach from "./reach.js";
import * as session from "./session.js";

const PATIENCE_MS = 12_000; // a little more than the gateway takes at most

/** What the gateway refused, or that it did not answer. */
export class ApiError extends Error {
  /**
   * @param {string} message for people.
   * @param {number} status of HTTP; 0 = there was no answer.
   * @param {number} wait seconds that the gateway asks to wait.
   */
  constructor(message, status, wait = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.wait = wait;
  }
}

let signedOut = () => {};

/** Name what is called when the credential is missing or no longer good. */
export function onSignedOut(callback) {
  signedOut = callback;
}

/** Say that the credential is missing or no longer good. */
export function expire(message) {
  signedOut(message);
}

/** Return the headers that every request has. */
export function commonHeaders() {
  return { "Accept-Language": language(), ...session.headers() };
}

async function send(method, path, body, signal) {
  const limit = AbortSignal.timeout(PATIENCE_MS);
  const init = {
    method,
    headers: commonHeaders(),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  let text;
  try {
    response = await fetch(path, init);
    text = await response.text();
  } catch (fault) {
    if (signal?.aborted) {
      throw fault; // nobody waits for it any more
    }
    reach.silent();
    throw new ApiError(t("error.silent"), 0);
  }
  reach.answered();
  return { response, text };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusal(response, answer) {
  const wait = Number(response.headers.get("Retry-After")) || 0;
  const said = answer?.message ?? t("error.status", { status: response.status });
  const { status } = response;
  const advised = status === 429 || (status === 403 && !session.mayChange());
  const message = advised ? `${said}. ${t(`error.${status}`)}` : said;
  return new ApiError(message, response.status, wait);
}

/**
 * Ask the gateway and return `data` of its answer.
 *
 * @throws {ApiError} it refused, or did not answer.
 */
async function ask(method, path, body, signal) {
  const { response, text } = await send(method, path, body, signal);
  const answer = parse(text);
  if (!response.ok || answer?.success !== true) {
    if (response.status === 401) {
      signedOut(answer?.message ?? "");
    }
    throw refusal(response, answer);
  }
  const data = answer.data ?? {};
  Object.defineProperty(data, "weight", { value: text.length }); // for the pace of polls
  return data;
}

/** GET, with a query of what is not empty. */
export function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  const words = new URLSearchParams(given).toString();
  return ask("GET", words ? `${path}?${words}` : path, undefined, signal);
}

/** POST one JSON object. */
export function post(path, body = {}) {
  return ask("POST", path, body);
}

/** DELETE. */
export function remove(path) {
  return ask("DELETE", path);
}

/** GET `/health`, which has no envelope and says 503 when something is wrong. */
export async function health(signal) {
  const { response, text } = await send("GET", "/health", undefined, signal);
  const answer = parse(text);
  if (!answer?.checks) {
    throw refusal(response, answer);
  }
  return answer;
}

/**
 * Keep a credential if the gateway lets its caller in.
 *
 * @throws {ApiError} it does not.
 */
export async function enter(given) {
  const before = session.credential();
  session.use(given);
  try {
    const { response, text } = await send("GET", "/api/limits");
    if (!response.ok) {
      throw refusal(response, parse(text));
    }
  } catch (fault) {
    session.use(before);
    throw fault;
  }
}
