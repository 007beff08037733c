// Use the API with the types of openapi-typescript and with openapi-fetch; print what came back as JSON.
import createClient from "openapi-fetch";
import type { paths } from "./openapi-typescript";

const client = createClient<paths, "application/json">({
  baseUrl: process.env.API_URL,
  headers: { Authorization: `Bearer ${process.env.API_TOKEN}` },
});

/** The answer, which must not be an error. */
function need<T>(result: { data?: T; error?: unknown }): T {
  if (result.data === undefined) throw new Error(JSON.stringify(result.error));
  return result.data;
}

async function main() {
  const [demo] = need(await client.GET("/chats", { params: { query: { sort: "id", page_size: 1 } } }));
  const settings = need(
    await client.POST("/llm-settings", {
      body: { data: { attributes: { model_name: "demo", stop_words: ["END"], metadata: { team: "research" } } } },
    }),
  );
  const attributes = { llm_id: demo.attributes.llm_id, llm_settings_id: Number(settings.id), group_ids: [] };
  const created = need(
    await client.POST("/chats", { body: { data: { attributes: { name: "Generated", ...attributes } } } }),
  );
  const path = { id: Number(created.id) };
  const body = { data: { attributes: { name: "Changed" } } };
  const changed = need(await client.PATCH("/chats/{id}", { params: { path }, body }));
  const session = need(await client.POST("/sessions", { body: { data: { attributes: { chat_id: path.id } } } }));
  const answer = need(
    await client.POST("/sessions/{session}/messages", {
      params: { path: { session: session.id } },
      body: { data: { attributes: { text: "/events" } } },
    }),
  );
  if (!("attributes" in answer)) throw new Error("These are events, which nobody asked for.");
  const deleted = await client.DELETE("/chats/{id}", { params: { path } });
  const gone = await client.GET("/chats/{id}", { params: { path } });
  console.log(
    JSON.stringify({
      demo: demo.attributes.name,
      settings: [settings.attributes.stop_words, settings.attributes.metadata],
      names: [created.attributes?.name, changed.attributes.name],
      answer: [answer.attributes.status, answer.attributes.parts.map((part) => [part.type, part.text ?? part.tool])],
      deleted: deleted.response.status,
      gone: [gone.response.status, gone.error?.errors?.[0].code],
    }),
  );
}

void main();
