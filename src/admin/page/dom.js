// Elements. What others wrote (names, errors) goes in as text alone: there is no way here to make markup of it.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes and children; strings become text. Attributes that are null or false are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Sets text only if it differs, so that nothing is laid out, or read aloud, for nothing. */
export function setText(node, text) {
  const wanted = text ?? '';
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Keeps one node for each key under `parent`, in this order; `make` and `update` see the item. */
export function keyed(parent, nodes, items, keyOf, make, update) {
  const wanted = new Set(items.map(keyOf));
  for (const [key, node] of nodes) {
    if (!wanted.has(key)) { node.remove(); nodes.delete(key); }
  }
  items.forEach((item, place) => {
    const key = keyOf(item);
    let node = nodes.get(key);
    if (!node) { node = make(item); nodes.set(key, node); }
    update(node, item);
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
  });
}

/** A state: a shape, a colour and words. */
export function pill(level, word) {
  return el('span', { class: 'pill', 'data-level': level }, el('span', { class: 'mark', 'aria-hidden': 'true' }), el('span', { class: 'pill-word' }, word));
}

export function setPill(node, level, word) {
  setAttribute(node, 'data-level', level);
  setText(node.querySelector('.pill-word'), word);
}

/** A name and its value, for lists of figures. */
export function figure(name, title) {
  const value = el('dd', {});
  return { node: el('div', { class: 'figure', title }, el('dt', {}, name), value), value };
}
