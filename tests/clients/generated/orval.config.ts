import { defineConfig } from "orval";

// the client sends a Content-Type of its own only where it knows a single one
const contentType = { include: ["application/json"] };
const output = { target: "./orval/client.ts", client: "fetch", mode: "single", baseUrl: process.env.API_URL } as const;

export default defineConfig({ aistudio: { input: "./schema.json", output: { ...output, override: { contentType } } } });
