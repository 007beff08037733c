/* The list of conversations in the sidebar: search, archive, loading more while scrolling, and the menu of each.

   A page that changes a conversation dispatches the event "conversations-changed" on the document.
   Elements with data-name-of="<uuid>" show a new name at once. */

import { api, part } from "../core/api.js";

const section = document.querySelector(".conversations");
const list = section.querySelector("[data-list]");
const search = section.querySelector("input");
const archived = section.querySelector("[data-archived][aria-pressed]");
const failure = section.querySelector("[role=alert]");
const menu = document.getElementById("conversation-menu");
const dialogs = { rename: document.getElementById("rename-conversation"), delete: document.getElementById("delete-conversation") };
const CHANGES = { pin: { pinned: true }, unpin: { pinned: false }, archive: { archived: true }, unarchive: { archived: false } };
let request; // the newest request for a list; older ones are aborted
let chosen; // the row whose menu is open

const seen = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { root: section.closest(".sidebar-scroll"), rootMargin: "200px" });

function show() {
  for (const row of document.querySelectorAll(".sidebar a.row")) {
    if (row.pathname === location.pathname) row.ariaCurrent = "page";
    else row.removeAttribute("aria-current");
  }
  seen.disconnect();
  const next = list.querySelector("[data-next]");
  if (next) seen.observe(next);
}

async function load(url, put) {
  request?.abort();
  const mine = (request = new AbortController());
  try {
    const html = await part(url, { signal: mine.signal });
    failure.hidden = true;
    put(html);
    show();
  } catch (error) {
    if (!mine.signal.aborted) fail();
  }
}

async function reload() {
  const query = new URLSearchParams({ q: search.value });
  if (archived.ariaPressed === "true") query.set("archived", "1");
  await load(`${section.dataset.url}?${query}`, (html) => (list.innerHTML = html));
}

async function more() {
  const next = list.querySelector("[data-next]");
  seen.disconnect();
  await load(next.href, (html) => (next.outerHTML = html));
}

function fail(words) {
  failure.textContent = words || section.dataset.failed;
  failure.hidden = false;
}

function announceCount() {
  const status = section.querySelector("[role=status]");
  const count = list.querySelectorAll("li").length;
  status.textContent = count === 1 ? status.dataset.one : status.dataset.many.replace("{}", count);
}

async function change(work, after) {
  const failed = await work.then(after).then(() => null, (error) => error);
  await reload();
  if (failed) fail([TypeError, DOMException].some((kind) => failed instanceof kind) ? "" : failed.message); // a browser's own messages do not help people
}

let typed;
search.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => reload().then(announceCount), 200);
});

archived.addEventListener("click", () => {
  archived.ariaPressed = archived.ariaPressed !== "true";
  reload().then(announceCount);
});

list.addEventListener("click", (event) => {
  const next = event.target.closest("[data-next]");
  const button = event.target.closest("[data-menu]");
  if (next) {
    event.preventDefault();
    more();
  } else if (button) {
    chosen = button.closest("li");
    for (const [name, flag] of [["pin", "pinned"], ["archive", "archived"]]) {
      menu.querySelector(`[data-act=${name}]`).hidden = Boolean(chosen.dataset[flag]);
      menu.querySelector(`[data-act=un${name}]`).hidden = !chosen.dataset[flag];
    }
    menu.showPopover({ source: button });
    const at = button.getBoundingClientRect();
    menu.style.top = `${Math.max(8, Math.min(at.bottom + 4, innerHeight - menu.offsetHeight - 8))}px`;
    menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`;
    menu.querySelector("button:not([hidden])").focus();
  }
});

menu.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...menu.querySelectorAll("button:not([hidden])")];
  buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus();
});

menu.addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]")?.dataset.act;
  if (!act) return;
  const { uuid } = chosen.dataset;
  const name = chosen.querySelector("a").innerText;
  menu.hidePopover();
  if (act in CHANGES) change(api("PATCH", `/sessions/${uuid}`, CHANGES[act]));
  else openDialog(act, uuid, name);
});

function openDialog(act, uuid, name) {
  const dialog = dialogs[act];
  const field = dialog.querySelector("input");
  if (field) field.value = name;
  else dialog.querySelector("[data-name]").textContent = name;
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return;
    if (act === "rename") rename(uuid, field.value);
    else remove(uuid);
  };
  dialog.showModal();
  field?.select();
}

const rename = (uuid, name) =>
  change(api("PATCH", `/sessions/${uuid}`, { name }), ({ attributes: { name: given } }) => {
    for (const shown of document.querySelectorAll(`[data-name-of="${uuid}"]`)) shown.textContent = given;
    if (location.pathname === `/sessions/${uuid}`) document.title = `${given} · AI Studio`;
  });

const remove = (uuid) =>
  change(api("DELETE", `/sessions/${uuid}`), () => {
    if (location.pathname === `/sessions/${uuid}`) location.assign("/");
  });

document.addEventListener("conversations-changed", reload);
show();
