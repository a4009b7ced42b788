import { defineConfig } from "vite";

const backend = process.env.FRONTEND_BACKEND ?? "http://127.0.0.1:3000";

export default defineConfig({
  build: { target: "es2022" },
  server: { proxy: { "/api": backend, "/health": backend } },
});
