// Where the reader is: the fragment of the address, such as #/connections?port=10022.

/** Return the parts of the fragment. */
export function read(fragment = location.hash) {
  const [path, query = ""] = fragment.replace(/^#/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decodeURIComponentSafely),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decodeURIComponentSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Return the fragment of a place; what is empty is left out. */
export function write(path, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  const words = new URLSearchParams(given).toString();
  return words ? `#/${path}?${words}` : `#/${path}`;
}

/** Go to a place. */
export function go(path, query = {}) {
  location.hash = write(path, query);
}

/** Rewrite the place in the address without going anywhere. */
export function note(path, query = {}) {
  history.replaceState(null, "", write(path, query));
}
