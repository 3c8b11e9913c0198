// Who is signed in, and what that allows.

import * as kept from "./kept.js";

/**
 * @typedef {{kind: "token"|"key", secret: string}} Credential
 */

/** @type {Credential|null} */
let shown = read();
let refused = false; // a change was refused: the role is less than it seemed
const watchers = new Set();

function read() {
  try {
    return JSON.parse(kept.credential.get() ?? "null");
  } catch {
    return null;
  }
}

/** Return the credential that goes with each request, or null. */
export function credential() {
  return shown;
}

/** Sign in by a credential (null: out) and remember it for this tab. */
export function use(given) {
  shown = given;
  refused = false;
  kept.credential.set(given === null ? null : JSON.stringify(given));
}

/** Return the headers that show the credential. */
export function headers() {
  if (shown === null) {
    return {};
  }
  return shown.kind === "key"
    ? { "X-API-Key": shown.secret }
    : { Authorization: `Bearer ${shown.secret}` };
}

/** Tell whether a text has the form of a token. */
export function looksLikeToken(text) {
  return /^[\w-]{4,}\.[\w-]{4,}\.[\w-]{4,}$/.test(text);
}

function claims(token) {
  try {
    const middle = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(middle), (sign) => sign.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

/** Tell whether changes may be asked for; the gateway has the last word. */
export function mayChange() {
  if (refused) {
    return false;
  }
  return shown === null || shown.kind === "key" || claims(shown.secret).role === "admin";
}

/** Note that the gateway refused a change of this caller. */
export function noteRefusal() {
  if (!refused) {
    refused = true;
    watchers.forEach((watcher) => watcher());
  }
}

/** Call back when what is allowed has changed. */
export function watch(watcher) {
  watchers.add(watcher);
}

/** Return what to call the caller: the token's subject, or null. */
export function name() {
  return shown?.kind === "token" ? (claims(shown.secret).sub ?? null) : null;
}
