// Who is signed in, and what that allows.

import * as kept from "./kept.js";

/**
 * @typedef {{kind: "token"|"key", secret: string}} Credential
 */

/** @type {Credential|null} */
let shown = read();

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
  return shown === null || shown.kind === "key" || claims(shown.secret).role === "admin";
}

/** Return what to call the caller: the token's subject, or null. */
export function name() {
  return shown?.kind === "token" ? (claims(shown.secret).sub ?? null) : null;
}
