/**
 * Elements, made of names and text. Text is only ever text: what a person wrote cannot become markup.
 */

/**
 * What an element is made with: `class`, `text`, listeners as `onclick` and the like, and attributes. `true` sets an attribute without
 * a value; `false`, `null` and `undefined` leave it out.
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>} Props
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'text') element.textContent = String(value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Lines of 24 by 24, drawn with a stroke of the text's colour. */
const ICONS = {
  back: ['M15 5l-7 7 7 7'],
  plus: ['M12 5v14', 'M5 12h14'],
  send: ['M5 12h13', 'M12.5 5.5L19 12l-6.5 6.5'],
  down: ['M12 5v13', 'M5.5 12.5L12 19l6.5-6.5'],
  people: ['M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z', 'M2.5 20c.4-3.6 3-5.6 6.5-5.6s6.1 2 6.5 5.6', 'M16 4.4a3.5 3.5 0 0 1 0 6.3', 'M18 14.8c2 .7 3.2 2.5 3.5 5.2'],
  copy: ['M9 9h10v11H9z', 'M5 15V4h10'],
  help: ['M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z', 'M9.5 9.3c.3-1.4 1.3-2 2.6-2 1.4 0 2.5.9 2.5 2.2 0 1.9-2.6 2.1-2.6 4', 'M12 16.7v.1'],
  tab: ['M13 4h7v7', 'M20 4l-9 9', 'M18 14v6H4V6h6'],
  out: ['M14 4h5v16h-5', 'M3.5 12H14', 'M8 7.5L3.5 12 8 16.5'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  search: ['M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z', 'M16.2 16.2L20.5 20.5'],
  clock: ['M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z', 'M12 7.5V12l3 2'],
  tick: ['M5 12.5l4.5 4.5L19 7.5'],
  ticks: ['M1.5 12.5L6 17l9.5-9.5', 'M11.5 16l1.2 1L22.5 7.5'],
  alert: ['M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z', 'M12 7.5v5.5', 'M12 16.3v.1'],
};

/** @typedef {keyof typeof ICONS} IconName */

/**
 * A picture that says nothing to a screen reader: whatever holds it has words too.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  for (const line of ICONS[name]) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', line);
    svg.append(path);
  }
  return svg;
}

/**
 * A button that is only a picture.
 * @param {IconName} name @param {string} label @param {Props} props
 */
export function iconButton(name, label, props) {
  return h('button', { type: 'button', title: label, 'aria-label': label, ...props, class: `icon-button ${props.class ?? ''}` }, icon(name));
}

/**
 * Words for screen readers alone.
 * @param {string} text
 */
export const spoken = (text) => h('span', { class: 'spoken', text });

/**
 * The element with this id, of which index.html has exactly one.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return /** @type {T} */ (element);
}

/**
 * Gives a parent exactly these children, moving and removing as little as can be: focus, selection and scroll positions stay.
 * @param {Element} parent @param {readonly Element[]} children
 */
export function place(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}

/**
 * Sets an element's text where it differs, so that nothing is announced or laid out for nothing.
 * @param {Element} element @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
