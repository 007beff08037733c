// Use the API as openapi-generator's client typescript-fetch does, and print what came back as JSON.
import { ChatsApi, Configuration, LlmSettingsApi, ResponseError, SessionsApi } from "./typescript-fetch";

const configuration = new Configuration({
  basePath: process.env.API_URL,
  apiKey: `Bearer ${process.env.API_TOKEN}`,
});
const chats = new ChatsApi(configuration);
const sessions = new SessionsApi(configuration);

async function main() {
  const [demo] = await chats.chatsList({ sort: "id", pageSize: 1 });
  const model = { modelName: "demo", stopWords: ["END"], metadata: { team: "research" } };
  const settings = await new LlmSettingsApi(configuration).llmSettingsCreate({
    lLMSettingsInput: { data: { attributes: model } },
  });
  const attributes = { llmId: demo.attributes.llmId!, llmSettingsId: Number(settings.id), groupIds: [] };
  const created = await chats.chatsCreate({ apiChatInput: { data: { attributes: { name: "Generated", ...attributes } } } });
  const id = Number(created.id);
  const changed = await chats.chatsUpdate({ id, chatChange: { data: { attributes: { name: "Changed" } } } });
  const session = (await sessions.sessionsCreate({ sessionInput: { data: { attributes: { chatId: id } } } })).id;
  // its type is that of a stream of events, the first success that the description names
  await sessions.sessionsMessagesCreate({ session, messageInput: { data: { attributes: { text: "/events" } } } });
  const answer = (await sessions.sessionsMessagesList({ session })).at(-1)!;
  const deleted = await chats.chatsDestroyRaw({ id });
  const gone = await chats.chatsRetrieve({ id }).catch((error: unknown) => error);
  if (!(gone instanceof ResponseError)) throw gone;
  console.log(
    JSON.stringify({
      demo: demo.attributes.name,
      settings: [settings.attributes.stopWords, settings.attributes.metadata],
      names: [created.attributes?.name, changed.attributes.name],
      answer: [answer.attributes.status, answer.attributes.parts.map((part) => [part.type, part.text ?? part.tool])],
      deleted: deleted.raw.status,
      gone: [gone.response.status, (await gone.response.json()).errors[0].code],
    }),
  );
}

void main();
