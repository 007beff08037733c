// Use the API as kitsu does, and print what came back as JSON. API_URL and API_TOKEN say where and who.
import Kitsu from "kitsu";

const api = new Kitsu({
  baseURL: process.env.API_URL,
  headers: { Authorization: `Bearer ${process.env.API_TOKEN}` },
  camelCaseTypes: false, // types and names are as the server has them
  resourceCase: "none",
  pluralize: false,
  axiosOptions: { proxy: false },
});
const related = (resource) => ({ data: { type: resource.data.type, id: resource.data.id } });
const summary = ({ name, llm, llm_settings, groups }) => ({
  name,
  llm: llm.data.id,
  llm_settings: llm_settings.data.id,
  groups: groups.data.map((group) => group.id),
});

const first = await api.get("chats", { params: { sort: "id", include: "llm,groups", page: { size: 1 } } });
const demo = first.data[0];
const links = { llm: related(demo.llm), llm_settings: related(demo.llm_settings) };

const created = await api.create("chats", { name: "From npm", ...links, groups: { data: [] } });
const { id } = created.data;

const listed = [];
let page;
for (let number = 1; number === 1 || page.links.next; number += 1) {
  page = await api.get("chats", { params: { sort: "id", page: { number, size: 1 } } });
  listed.push(...page.data.map((chat) => chat.id));
}

const groups = { data: demo.groups.data.map(({ type, id }) => ({ type, id })) };
const changed = await api.update("chats", { id, name: "Changed from npm", groups });
const reread = await api.get(`chats/${id}`);
const deleted = await api.delete("chats", id);
const error = await api.get(`chats/${id}`).catch((caught) => caught);

console.log(
  JSON.stringify({
    included: { llm: demo.llm.data.name, groups: demo.groups.data.map((group) => group.name) },
    demo: summary(demo),
    created: { id, status: created.status, location: created.headers.location, ...summary(created.data) },
    listed,
    count: page.meta.pagination.count,
    changed: summary(changed.data),
    reread: summary(reread.data),
    deleted: deleted.status,
    error: { status: error.response.status, code: error.errors[0].code },
  }),
);
