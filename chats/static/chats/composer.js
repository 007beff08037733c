// The field for questions: a draft survives a reload, and a question is sent only once.

import { text } from "./server.js";

const form = document.getElementById("composer");
const field = document.getElementById("message");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const tooLong = document.getElementById("too-long");
const editing = document.getElementById("editing");
const LONGEST_BODY = 1_000_000; // bytes, a little less than the server takes

let place = "";
let key = ""; // the Idempotency-Key of the text: sending both again leads to the same answer
let state = { answering: false, sending: false, closed: false };
let edited = null; // the question that is edited: its id, and the draft that was in the field before
let problem = "";

/** Drafts of this tab, else of the tab that wrote last. A tab removes only its own drafts. */
const store = {
  get: (name) => { try { return JSON.parse(sessionStorage.getItem(name) ?? localStorage.getItem(name)) || {}; } catch { return {}; } },
  set: (name, value) => {
    try {
      const [before, written] = [sessionStorage.getItem(name), JSON.stringify(value)];
      sessionStorage.setItem(name, written);
      if (value) localStorage.setItem(name, written);
      else if (localStorage.getItem(name) === before) localStorage.removeItem(name);
    } catch { /* full, or forbidden */ }
  },
};

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Restore the draft of this name. */
export function open(name) {
  place = name;
  const draft = store.get(place);
  if (!field.value) ({ text: field.value = "", key = "" } = draft);
  if (field.value) update(false);
  const change = store.get(placeOfEdit());
  if (change.text) edit(change.id, change.text, change.key);
}

const placeOfEdit = () => `${place}:edit`;

function keep() {
  const written = field.value ? { text: field.value, key } : null;
  if (edited) store.set(placeOfEdit(), written && { ...written, id: edited.id });
  else store.set(place, written);
}

/** Rename the draft, when the first question has created the conversation. */
export function move(name) {
  store.set(place, null);
  place = name;
  keep();
}

export function show(changes) {
  const focused = document.activeElement;
  Object.assign(state, changes);
  send.hidden = state.answering;
  stop.hidden = !state.answering;
  send.disabled = state.sending || state.closed || !field.value.trim() || Boolean(problem);
  field.readOnly = state.sending;
  if ([send, stop].includes(focused) && (focused.hidden || focused.disabled)) field.focus({ preventScroll: true });
  document.getElementById("composer-field").hidden = state.closed;
  document.getElementById("closed").hidden = !state.closed;
}

function update(isNew = true) {
  if (isNew) key = "";
  keep();
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
  problem = lengthProblem();
  tooLong.textContent = problem;
  field.toggleAttribute("aria-invalid", Boolean(problem));
  show({});
}

function lengthProblem() {
  const longest = Number(field.dataset.longest);
  if (field.value.length < LONGEST_BODY / 6 && field.value.length <= longest) return "";
  const characters = [...field.value].length;
  const bytes = new TextEncoder().encode(JSON.stringify(field.value)).length;
  const over = Math.max(characters - longest, Math.ceil((bytes - LONGEST_BODY) * characters / bytes));
  if (over <= 0) return "";
  const number = (count) => count.toLocaleString(document.documentElement.lang);
  return text("too-long").replace("COUNT", number(over)).replace("LONGEST", number(characters - over));
}

/** Edit a question that was asked. */
export function edit(id, question, itsKey = "") {
  edited = { id, draft: edited ? edited.draft : field.value };
  editing.hidden = false;
  field.value = question;
  key = itsKey;
  update(false);
  field.focus();
}

function cancel() {
  const { draft } = edited;
  store.set(placeOfEdit(), null);
  edited = null;
  editing.hidden = true;
  field.value = draft;
  update();
  field.focus();
}

/** Empty the field, because the server took the text. */
function clear() {
  if (edited) return cancel();
  field.value = "";
  update();
}

/** `ask(text, key, id of the edited question)` returns whether the server took the text. */
export function begin({ ask, halt }) {
  field.addEventListener("input", () => update());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && edited) {
      event.preventDefault();
      cancel();
    }
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.disabled || send.hidden) return;
    key ||= newKey();
    keep();
    show({ sending: true });
    try {
      if (await ask(field.value, key, edited?.id)) clear();
    } finally {
      show({ sending: false });
    }
  });
  stop.addEventListener("click", halt);
  document.getElementById("cancel").addEventListener("click", cancel);
  show({});
}
