// The messages in the page. Parts that the server sends again unchanged are not replaced, so that a selection stays.

import { text } from "./server.js";

const log = document.getElementById("log");
const sources = new WeakMap(); // element → its HTML as the server sent it

export const articles = () => [...log.querySelectorAll("article")];
export const article = (id) => document.getElementById(`message-${id}`);
export const textOf = (message) => message.querySelector(".text");

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Remember the HTML that was sent, and add what needs scripts: copy buttons, local times and numbers. */
function adopt(element) {
  for (const part of [element, ...element.querySelectorAll(".block, [data-part]")]) sources.set(part, part.outerHTML);
  for (const code of element.querySelectorAll("pre")) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "quiet copy-code", textContent: text("copy-code") });
    code.before(button);
  }
  for (const time of element.querySelectorAll("time")) time.textContent = new Date(time.dateTime).toLocaleString();
  for (const length of element.querySelectorAll("[data-ms]")) {
    const seconds = length.dataset.ms / 1000;
    const options = { style: "unit", unit: "second", maximumFractionDigits: seconds < 10 ? 2 : 0 };
    length.textContent = seconds.toLocaleString(document.documentElement.lang, options);
  }
  return element;
}

/** Show the newest messages as the server has them; older messages stay. Returns the other data of the server's page. */
export function show(html) {
  const page = parse(html).querySelector(".messages");
  const fresh = [...page.querySelectorAll("article")];
  const loaded = articles();
  const before = loaded.findIndex((each) => each.dataset.id === fresh[0]?.dataset.parent);
  const earlier = loaded.slice(0, before + 1); // what came before a message never changes
  const known = new Map(loaded.map((each) => [each.id, each]));
  const focused = document.activeElement?.closest?.("#log") && document.activeElement;
  const shown = fresh.map((each) => {
    const old = known.get(each.id);
    return old ? update(old, each) : adopt(each);
  });
  const wanted = [...earlier, ...shown];
  for (const old of loaded) if (!wanted.includes(old)) old.remove();
  wanted.forEach((each, index) => {
    if (log.children[index] !== each) log.insertBefore(each, log.children[index] ?? null);
  });
  for (const rest of [...log.children].slice(wanted.length)) rest.remove();
  if (focused && !focused.isConnected) document.getElementById("message").focus({ preventScroll: true });
  return earlier.length ? { ...page.dataset, earlier: undefined } : { ...page.dataset };
}

/** Update a message part by part; returns it. */
function update(old, fresh) {
  const grows = old.dataset.status === "streaming" && fresh.dataset.status === "streaming";
  if (grows || sources.get(old) === fresh.outerHTML) return old; // the stream of a growing answer is newer
  sources.set(old, fresh.outerHTML);
  Object.assign(old.dataset, { status: fresh.dataset.status });
  if (old.classList.contains("assistant")) {
    const blocks = [...textOf(fresh).children].map((block) => block.outerHTML);
    const shown = [...textOf(old).children];
    blocks.forEach((html, index) => {
      if (sources.get(shown[index]) === html) return;
      const block = adopt(parse(html).firstElementChild);
      shown[index] ? shown[index].replaceWith(block) : textOf(old).append(block);
    });
    for (const rest of shown.slice(blocks.length)) rest.remove();
  }
  const parts = fresh.querySelectorAll("[data-part]");
  old.querySelectorAll("[data-part]").forEach((part, index) => {
    if (sources.get(part) !== parts[index].outerHTML) part.replaceWith(adopt(parts[index]));
  });
  return old;
}

/** Insert earlier messages at the top; returns the id of the first one if there are still earlier ones. */
export function prepend(html) {
  const page = parse(html).querySelector(".messages");
  log.prepend(...[...page.querySelectorAll("article")].map(adopt));
  return page.dataset.earlier;
}

/** Replace the blocks of an answer from the index `first` on. */
export function grow(message, { first, blocks }) {
  const place = textOf(message);
  for (const block of [...place.children].slice(first)) block.remove();
  for (const html of blocks) place.append(adopt(parse(html).firstElementChild));
}

/** Take over the messages that the page was loaded with; returns the other data of the page. */
export function begin() {
  const page = log.querySelector(".messages");
  if (!page) return {};
  const came = articles().map(adopt);
  log.replaceChildren(...came);
  return { ...page.dataset };
}
