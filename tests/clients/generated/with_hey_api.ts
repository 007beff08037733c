// Use the API as the client of hey-api does, and print what came back as JSON.
import { client } from "./hey-api/client.gen";
import {
  chatsCreate,
  chatsDestroy,
  chatsList,
  chatsRetrieve,
  chatsUpdate,
  llmSettingsCreate,
  sessionsCreate,
  sessionsMessagesCreate,
  sessionsMessagesList,
} from "./hey-api";

client.setConfig({ baseUrl: process.env.API_URL, auth: `Bearer ${process.env.API_TOKEN}` });
const throwOnError = true;

async function main() {
  const [demo] = (await chatsList({ query: { sort: "id", page_size: 1 }, throwOnError })).data;
  const { data: settings } = await llmSettingsCreate({
    body: { data: { attributes: { model_name: "demo", stop_words: ["END"], metadata: { team: "research" } } } },
    throwOnError,
  });
  const attributes = { llm_id: demo.attributes.llm_id, llm_settings_id: Number(settings.id), group_ids: [] };
  const { data: created } = await chatsCreate({
    body: { data: { attributes: { name: "Generated", ...attributes } } },
    throwOnError,
  });
  const path = { id: Number(created.id) };
  const { data: changed } = await chatsUpdate({
    path,
    body: { data: { attributes: { name: "Changed" } } },
    throwOnError,
  });
  const { data: session } = await sessionsCreate({ body: { data: { attributes: { chat_id: path.id } } }, throwOnError });
  const asked = await sessionsMessagesCreate({
    path: { session: session.id },
    body: { data: { attributes: { text: "/events" } } },
    headers: { Accept: "text/event-stream" }, // the client reads events here, but does not say so
  });
  const events = [];
  for await (const event of asked.stream) events.push(event);
  const { data: messages } = await sessionsMessagesList({ path: { session: session.id }, throwOnError });
  const answer = messages[messages.length - 1];
  const deleted = await chatsDestroy({ path });
  const gone = await chatsRetrieve({ path });
  console.log(
    JSON.stringify({
      demo: demo.attributes.name,
      settings: [settings.attributes.stop_words, settings.attributes.metadata],
      names: [created.attributes?.name, changed.attributes.name],
      answer: [answer.attributes.status, answer.attributes.parts.map((part) => [part.type, part.text ?? part.tool])],
      deleted: deleted.response?.status,
      gone: [gone.response?.status, gone.error?.errors?.[0].code],
      events: events.length,
    }),
  );
}

void main();
