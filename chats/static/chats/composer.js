// Where people write: a draft that survives a reload, and a question that is sent once.

import { text } from "./server.js";

const form = document.getElementById("composer");
const field = document.getElementById("message");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const tooLong = document.getElementById("too-long");
const editing = document.getElementById("editing");
const LONGEST_BODY = 1_000_000; // bytes, a little less than the server takes

let place = "";
let key = ""; // goes with the text: sent again, it leads to the same answer
let state = { answering: false, sending: false, closed: false };
let edited = null; // the id of the question that is changed, and the draft that it took the place of
let problem = "";

/** This tab's, and behind it what any tab wrote last, of which a tab takes away only its own. */
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

/** Take up the draft that was left here. */
export function open(name) {
  place = name;
  const draft = store.get(place);
  if (!field.value) ({ text: field.value = "", key = "" } = draft);
  if (field.value) changed(false);
  const change = store.get(placeOfEdit());
  if (change.text) edit(change.id, change.text, change.key);
}

const placeOfEdit = () => `${place}:edit`;

function keep() {
  const written = field.value ? { text: field.value, key } : null;
  if (edited) store.set(placeOfEdit(), written && { ...written, id: edited.id });
  else store.set(place, written);
}

/** The draft goes with the conversation, once that has a place of its own. */
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

function changed(isNew = true) {
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

/** Write a question anew. */
export function edit(id, question, itsKey = "") {
  edited = { id, draft: edited ? edited.draft : field.value };
  editing.hidden = false;
  field.value = question;
  key = itsKey;
  changed(false);
  field.focus();
}

function cancel() {
  const { draft } = edited;
  store.set(placeOfEdit(), null);
  edited = null;
  editing.hidden = true;
  field.value = draft;
  changed();
  field.focus();
}

/** The text was taken: begin the next one. */
function taken() {
  if (edited) return cancel();
  field.value = "";
  changed();
}

/** `ask(text, key, id of the question that it stands for)` returns whether it was taken. */
export function begin({ ask, halt }) {
  field.addEventListener("input", () => changed());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && edited) cancel();
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
      if (await ask(field.value, key, edited?.id)) taken();
    } finally {
      show({ sending: false });
    }
  });
  stop.addEventListener("click", halt);
  document.getElementById("cancel").addEventListener("click", cancel);
  show({});
}
