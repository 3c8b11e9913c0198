// Elements, made and changed without markup: text is always text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} name tag, with classes behind dots: "p.muted.small".
 * @param {object} given attributes; `on` holds listeners, `dataset` data; null, undefined
 *     and false leave an attribute out, true writes it empty.
 * @param {...(Node|string|number|null|Array)} children
 */
export function h(name, given = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) {
    element.className = classes.join(" ");
  }
  for (const [key, value] of Object.entries(given)) {
    give(element, key, value);
  }
  element.append(...pieces(children));
  return element;
}

function give(element, key, value) {
  if (key === "on") {
    for (const [type, listener] of Object.entries(value)) {
      element.addEventListener(type, listener);
    }
  } else if (key === "dataset") {
    Object.assign(element.dataset, value);
  } else if (key === "value" || key === "checked" || key === "indeterminate") {
    element[key] = value;
  } else if (value === true) {
    element.setAttribute(key, "");
  } else if (value !== null && value !== undefined && value !== false) {
    element.setAttribute(key, value);
  }
}

function pieces(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** Put children in the place of what an element held. */
export function fill(element, ...children) {
  element.replaceChildren(...pieces(children));
  return element;
}

/** Write text where it differs; unchanged text costs no layout. */
export function write(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) {
    element.textContent = wanted;
  }
}

/** Set an attribute where it differs; null takes it away. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

let lastId = 0;

/** Return an id that no other element has. */
export function newId(stem = "e") {
  lastId += 1;
  return `${stem}-${lastId}`;
}

const SHAPES = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z",
  traffic: "M3 17l5-6 4 3 5-8 4 4M3 21h18",
  create: "M12 5v14M5 12h14",
  mappings: "M4 7h11M12 4l3 3-3 3M20 17H9M12 14l-3 3 3 3",
  connections: "M9 7H7a5 5 0 0 0 0 10h2M15 7h2a5 5 0 0 1 0 10h-2M8 12h8",
  agents: "M5 4h14v7H5zM5 14h14v6H5zM8 7.500h.01M8 17h.01",
  events: "M4 6h16M4 12h16M4 18h10",
  fitness: "M3 12h4l3-8 4 16 3-8h4",
  bans: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM5.700 5.700l12.600 12.600",
  audit: "M6 3h9l4 4v14H6zM9 11h7M9 15h7M14 3v5h5",
  warning: "M12 3l10 18H2zM12 10v5M12 18h.01",
  lost: "M2 8.500a15 15 0 0 1 20 0M5.500 12.500a10 10 0 0 1 13 0M9 16.500a5 5 0 0 1 6 0M12 20h.01M3 3l18 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  power: "M12 3v9M6.500 7a8 8 0 1 0 11 0",
  leave: "M14 4h6v16h-6M10 8l-4 4 4 4M6 12h9",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
};

/** Return a small picture that says nothing by itself. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** Return the sign of the product. */
export function sign() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 32 32");
  svg.setAttribute("aria-hidden", "true");
  const ground = document.createElementNS(SVG, "rect");
  for (const [key, value] of [["width", 32], ["height", 32], ["rx", 8]]) {
    ground.setAttribute(key, value);
  }
  const arches = document.createElementNS(SVG, "path");
  arches.setAttribute(
    "d",
    "M6 23v-4a10 10 0 0 1 20 0v4M11.500 23v-4a4.500 4.500 0 0 1 9 0v4",
  );
  svg.append(ground, arches);
  return svg;
}
