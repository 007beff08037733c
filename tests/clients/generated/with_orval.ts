// Use the API as the client of orval does, and print what came back as JSON.
import {
  chatsCreate,
  chatsDestroy,
  chatsList,
  chatsRetrieve,
  chatsUpdate,
  llmSettingsCreate,
  sessionsCreate,
  sessionsMessagesCreate,
} from "./orval/client";

const options = { headers: { Authorization: `Bearer ${process.env.API_TOKEN}` } };

/** The answer, which must have this status. */
function need<T extends { status: number }, S extends T["status"]>(result: T, status: S): Extract<T, { status: S }> {
  if (result.status !== status) throw new Error(JSON.stringify(result));
  return result as Extract<T, { status: S }>;
}

async function main() {
  const [demo] = need(await chatsList({ sort: "id", page_size: 1 }, options), 200).data;
  const model = { model_name: "demo", stop_words: ["END"], metadata: { team: "research" } };
  const settings = need(await llmSettingsCreate({ data: { attributes: model } }, {}, options), 201).data;
  const attributes = { llm_id: demo.attributes.llm_id, llm_settings_id: Number(settings.id), group_ids: [] };
  const body = { data: { attributes: { name: "Generated", ...attributes } } };
  const created = need(await chatsCreate(body, {}, options), 201).data;
  const id = Number(created.id);
  const changed = need(await chatsUpdate(id, { data: { attributes: { name: "Changed" } } }, {}, options), 200).data;
  const session = need(await sessionsCreate({ data: { attributes: { chat_id: id } } }, {}, options), 201).data;
  const question = { data: { attributes: { text: "/events" } } };
  const answer = need(await sessionsMessagesCreate(session.id, question, {}, options), 201).data;
  const deleted = await chatsDestroy(id, options);
  const gone = need(await chatsRetrieve(id, {}, options), 404);
  console.log(
    JSON.stringify({
      demo: demo.attributes.name,
      settings: [settings.attributes.stop_words, settings.attributes.metadata],
      names: [created.attributes?.name, changed.attributes.name],
      answer: [answer.attributes.status, answer.attributes.parts.map((part) => [part.type, part.text ?? part.tool])],
      deleted: deleted.status,
      gone: [gone.status, gone.data.errors[0].code],
    }),
  );
}

void main();
