/** Elements are made here, and text is always text: nothing of the page ever parses HTML. */

export const find = (id) => document.getElementById(id);

/** A new element with a class and children, which are nodes or text. */
export function make(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** One of the document's symbols; decoration, so it has no name. */
export function icon(name) {
  const [node, use] = ["svg", "use"].map((tag) => document.createElementNS(SVG, tag));
  node.setAttribute("class", "icon");
  node.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  node.append(use);
  return node;
}

/** Sets a text only when it changes, so that screen readers and the browser are left alone. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A dialog of the browser's is there from iOS 15.4 on; before, the style sheet lays an open one over the page. */
export function openDialog(dialog) {
  if (dialog.showModal) return dialog.showModal();
  dialog.classList.add("laid");
  dialog.setAttribute("open", "");
}

export function closeDialog(dialog) {
  if (dialog.close) return dialog.close();
  if (!dialog.hasAttribute("open")) return;
  dialog.removeAttribute("open");
  dialog.dispatchEvent(new Event("close"));
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const shown = new WeakMap();
const DURATION_MS = 700;

/** A figure and its length, by which the style sheet chooses its size. */
export function putFigure(node, text) {
  put(node, text);
  node.closest("dd, p").style.setProperty("--chars", String(Math.max(4, text.length)));
}

/** Lets a number run from what is shown to `value`; `write` turns it into text. */
export function roll(node, value, write) {
  const from = shown.get(node);
  shown.set(node, value);
  if (from === undefined || from === value || calm() || document.hidden) return putFigure(node, write(value));
  const began = performance.now();
  const step = (now) => {
    if (shown.get(node) !== value) return;
    const part = Math.min(1, Math.max(0, (now - began) / DURATION_MS));
    putFigure(node, write(Math.round(from + (value - from) * (1 - (1 - part) ** 3))));
    if (part < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}
