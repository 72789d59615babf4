// Elements from data. What comes from outside goes in as text, or as an attribute that runs nothing:
// no line of this page, nor of a renderer, parses HTML.

/**
 * An element: h("p.muted", { title: "…" }, "text", child). Functions become listeners; null, false
 * and undefined are left out, among attributes and among children.
 * @param {string} tag with its classes
 * @param {...any} rest attributes (optional), then children
 * @returns {any}
 */
export function h(tag, ...rest) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.className = classes.join(" ");
  if (name === "button") element.setAttribute("type", "button");
  if (rest[0]?.constructor === Object) {
    for (const [key, value] of Object.entries(rest.shift())) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
  }
  element.append(...rest.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets text where it differs, so that nothing is laid out for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets styles by name; through the object model, which a strict policy allows. */
export function setStyle(element, styles) {
  for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
}

/** Makes `nodes` the children of `parent`, moving only what stands wrong. */
export function arrange(parent, nodes) {
  nodes.forEach((node, at) => {
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

/** Says something to screen readers, politely. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

/** A button's words for a moment. */
export function flash(button, words) {
  button.dataset.words ??= button.textContent;
  button.textContent = words;
  announce(words);
  setTimeout(() => setText(button, button.dataset.words), 1800);
}

/** Copies text, and says so on the button. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    flash(button, "Copied");
  } catch {
    flash(button, "Not allowed here"); // browsers want https for it, or localhost
  }
}
