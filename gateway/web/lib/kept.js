// What this browser remembers; where storage is blocked, for as long as the page is open.

const held = new Map();

function store(lasting) {
  try {
    return lasting ? window.localStorage : window.sessionStorage;
  } catch {
    return null;
  }
}

function cell(key, lasting) {
  return {
    get() {
      return store(lasting)?.getItem(`gotunnel.${key}`) ?? held.get(key) ?? null;
    },
    set(value) {
      if (value === null) {
        held.delete(key);
        store(lasting)?.removeItem(`gotunnel.${key}`);
        return;
      }
      held.set(key, value);
      try {
        store(lasting)?.setItem(`gotunnel.${key}`, value);
      } catch {
        // full: it is held above
      }
    },
  };
}

export const language = cell("language", true);
export const theme = cell("theme", true);
export const credential = cell("credential", false);
