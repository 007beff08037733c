// The page of a conversation. It shows what the server has; the server answers whether or not a page is open.

import * as composer from "./composer.js";
import * as log from "./log.js";
import * as scroll from "./scroll.js";
import { Refusal, call, read, text } from "./server.js";

const talk = document.getElementById("talk");
const status = document.getElementById("status");
const trouble = document.getElementById("trouble");
const earlierButton = document.getElementById("earlier");
const PAUSE = 3000; // milliseconds between two checks for changes made elsewhere
const LONGEST_SILENCE = 25_000; // milliseconds; an open stream sends something every fifteen seconds
const LONGEST_READING = 20_000; // characters for a screen reader

let session = talk.dataset.session;
let earlier = "";
let answering = ""; // the id of the answer that is being produced
let stream = null; // the EventSource of `answering`
let heard = 0; // when it last sent something
let tag = ""; // the newest ETag of the session

const api = (path = "") => `/api/v1/sessions/${session}${path}`;
const page = (path) => `/sessions/${session}${path}`;

/** Show an error, or hide it if `error` is null. `until` names the event that will hide it. */
function say(error, until = "") {
  trouble.hidden = !error;
  trouble.dataset.until = until;
  if (!error) return;
  if (!(error instanceof Refusal)) throw error;
  trouble.firstElementChild.textContent = error.message;
  const link = trouble.querySelector("a");
  link.hidden = error.status !== 401;
  link.href = `${link.pathname}?next=${encodeURIComponent(location.pathname)}`;
}

/** Run `deed` and show its Refusal, if any; returns whether it succeeded. */
async function attempt(deed) {
  try {
    await deed();
    say(null);
    return true;
  } catch (error) {
    say(error);
    if (error.status === 409 && session) await waitForEnd();
    return false;
  }
}

/** After a conflict with a running answer, hide the error when that answer has ended. */
async function waitForEnd() {
  await refresh().catch(() => {});
  if (answering) trouble.dataset.until = "answered";
}

// state from the server

async function refresh() {
  const state = log.show(await read("text", "GET", page("/messages")));
  if (!talk.dataset.session && log.articles().length) moveIn(); // the question arrived, although the response was lost
  take(state);
}

function take({ earlier: before, answering: id, name, closed }) {
  if (before !== undefined) earlier = before;
  earlierButton.hidden = !earlier;
  answering = id ?? "";
  if (!answering && trouble.dataset.until === "answered") say(null);
  const title = document.getElementById("title");
  if (name && name !== title.textContent) {
    document.title = document.title.replace(title.textContent, () => name);
    title.textContent = name;
    reloadList();
  }
  talk.toggleAttribute("data-closed", closed !== undefined);
  talk.toggleAttribute("data-answering", Boolean(answering));
  composer.show({ answering: Boolean(answering), closed: closed !== undefined });
  follow();
}

function follow() {
  const message = answering && log.article(answering);
  if (stream && stream.id === answering) return;
  stream?.close();
  stream = null;
  if (!message || message.dataset.status !== "streaming") return;
  const id = answering;
  stream = new EventSource(page(`/events?after=${message.dataset.event}`));
  stream.id = id;
  heard = Date.now();
  const hear = () => { heard = Date.now(); };
  for (const name of ["open", "alive", "blocks"]) stream.addEventListener(name, hear);
  status.textContent = text("answering");
  stream.addEventListener("blocks", ({ data, lastEventId }) => {
    log.grow(message, JSON.parse(data));
    message.dataset.event = lastEventId;
  });
  stream.addEventListener("done", async () => {
    unfollow();
    await attempt(refresh);
    readAloud(id);
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState === EventSource.CLOSED) unfollow(); // `look` opens another
  });
}

function unfollow() {
  stream?.close();
  stream = null;
}

/** Let a screen reader read the answer once. */
function readAloud(id) {
  const message = log.article(id);
  if (!message) return;
  const outcome = message.querySelector(".outcome")?.innerText ?? "";
  const heard = `${log.textOf(message).innerText.slice(0, LONGEST_READING)} ${outcome}`;
  status.textContent = heard;
  setTimeout(() => { if (status.textContent === heard) status.textContent = ""; }, 5000); // else a reader finds it again
}

/** Check for changes made elsewhere: in another tab, on another device, by an administrator. */
async function look() {
  if (!session || document.hidden) return;
  if (stream && Date.now() - heard > LONGEST_SILENCE) unfollow(); // lost without an error: `follow` opens another
  if (stream?.readyState === EventSource.OPEN) return;
  try {
    const response = await call("GET", api(), { headers: tag ? { "If-None-Match": tag } : {} });
    tag = response.headers.get("ETag") ?? tag;
    if (response.status !== 304 || answering) await refresh();
    if (trouble.dataset.until === "look") say(null);
  } catch (error) {
    say(error, "look");
  }
}

/** After sleep or a change of network, an open stream may be dead: open another. */
function comeBack() {
  if (document.hidden) return;
  unfollow();
  look();
}

async function keepLooking() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    await look();
  }
}

// actions

async function ask(question, key, edited) {
  const isNew = !session;
  return attempt(async () => {
    if (isNew) session = (await read("json", "POST", "/api/v1/sessions", { attributes: { chat_id: Number(talk.dataset.chat) } })).id;
    try {
      await requestAnswer(edited ? `/messages/${edited}/edit` : "/messages", { attributes: { text: question } }, key);
    } catch (error) {
      if (isNew && error.status) await abandon();
      throw error;
    }
    await refresh();
    scroll.toEnd();
    reloadList();
  });
}

/** Reload the sidebar's list, in which this conversation may have moved or been renamed. */
const reloadList = () => document.dispatchEvent(new Event("conversations-changed"));

/** Request an answer. It is read from a stream of its own, because that can be resumed. */
async function requestAnswer(path, options, key) {
  const headers = { Accept: "text/event-stream", ...(key && { "Idempotency-Key": key }) };
  const response = await call("POST", api(path), { ...options, headers });
  response.body?.cancel().catch(() => {});
}

/** Delete a new conversation whose first question was refused. */
async function abandon() {
  await call("DELETE", api()).catch(() => {});
  session = "";
}

/** Turn the page of a chat into that of its new conversation. */
function moveIn() {
  history.replaceState(null, "", page(""));
  talk.dataset.session = session;
  composer.move(draftPlace());
  document.getElementById("beginning")?.remove();
  document.getElementById("export-button").hidden = false;
  for (const link of document.querySelectorAll("[data-export]")) link.href = page(`/export.${link.dataset.export}`);
  document.getElementById("title").dataset.nameOf = session;
  document.getElementById("chat-link").hidden = false;
}

const draftPlace = () => `draft:${talk.dataset.user}:${session || `chat-${talk.dataset.chat}`}`;

const halt = () => attempt(async () => {
  try {
    await call("POST", api("/stop"));
  } catch (error) {
    if (error.status !== 409) throw error; // the answer has ended meanwhile
    await refresh();
  }
});

/** The attributes of a message. The page shows some characters in other ways. */
const stored = async (id) => (await read("json", "GET", api(`/messages/${id}`))).attributes;

const verbs = {
  regenerate: (message) => attempt(async () => {
    await requestAnswer(`/messages/${message.dataset.id}/regenerate`, {});
    await refresh();
    scroll.toEnd();
    reloadList();
  }),
  switch: (message, button) => attempt(async () => {
    const { to } = button.dataset;
    const { top } = message.getBoundingClientRect();
    await call("POST", page(`/messages/${to}/switch`));
    await refresh();
    while (earlier && !log.article(to)) await loadEarlier();
    const same = `[data-verb="switch"][aria-label="${button.getAttribute("aria-label")}"]`;
    const group = log.article(to);
    if (group) scroll.toHeight(group, top);
    (group?.querySelector(`${same}:enabled`) ?? group?.querySelector('[data-verb="switch"]:enabled'))?.focus();
  }),
  edit: ({ dataset: { id } }) => attempt(async () => composer.edit(id, (await stored(id)).text)),
  copy: (message, button) => attempt(async () => {
    await copy(stored(message.dataset.id).then(({ text: source }) => source), button);
  }),
};

/** Copy a promised text. Browsers allow it only at once after a click, so the text may still be loading. */
async function copy(promise, button) {
  try {
    const blob = promise.then((copied) => new Blob([copied], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
  } catch {
    const area = document.createElement("textarea"); // without HTTPS there is no clipboard
    area.value = await promise;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  status.textContent = text("copied");
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
}

talk.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.classList.contains("copy-code")) copy(Promise.resolve(button.nextElementSibling.textContent), button);
  else if (button?.dataset.verb) verbs[button.dataset.verb](button.closest("article"), button);
});

let loading = null;
const loadEarlier = () => (loading ??= prependEarlier().finally(() => { loading = null; }));

async function prependEarlier() {
  const before = earlier;
  const html = await read("text", "GET", page(`/messages?before=${before}`));
  if (before !== earlier) return; // another branch is shown now
  scroll.keepPosition(() => { earlier = log.prepend(html); });
  earlierButton.hidden = !earlier;
}

scroll.loadEarlier(() => earlier && attempt(loadEarlier));

composer.begin({ ask, halt });
composer.open(draftPlace());
take(log.begin());
scroll.toEnd();
document.addEventListener("visibilitychange", comeBack);
addEventListener("online", comeBack);
addEventListener("pageshow", ({ persisted }) => persisted && comeBack());
keepLooking();
