import assert from "node:assert/strict";
import { test } from "node:test";
import { addressesOf, connectToWriter } from "../src/writer.js";

test("an address that names several servers is as many addresses", () => {
  assert.deepEqual(addressesOf("postgresql://app:s%40cret@db1:5432,db2:5433,[::1]/app?sslmode=verify-full"), [
    "postgresql://app:s%40cret@db1:5432/app?sslmode=verify-full",
    "postgresql://app:s%40cret@db2:5433/app?sslmode=verify-full",
    "postgresql://app:s%40cret@[::1]/app?sslmode=verify-full",
  ]);
  assert.deepEqual(addressesOf("postgres://db1/app"), ["postgres://db1/app"]);
});

test("without a server that takes writes there is no connection, and all faults are told", async () => {
  const pending = connectToWriter("postgresql://nobody@127.0.0.1:1,127.0.0.1:2/none", 0);
  await assert.rejects(pending, /connect ECONNREFUSED 127.0.0.1:1; connect ECONNREFUSED 127.0.0.1:2/);
});

const url = process.env.TEST_DATABASE_URL;
test("the one that takes writes is found among others, and of two neither is taken", { skip: url === undefined && "TEST_DATABASE_URL is not set" }, async () => {
  const [, scheme = "", host = "", rest = ""] = /^(.*@)([^/]*)(.*)$/.exec(url!) ?? [];
  const client = await connectToWriter(`${scheme}127.0.0.1:1,${host}${rest}`, 0);
  await client.end();
  await assert.rejects(connectToWriter(`${scheme}${host},${host}${rest}`, 0), /2 servers take writes/);
  const readOnly = `${scheme}${host}${rest}${rest.includes("?") ? "&" : "?"}options=-c%20default_transaction_read_only%3Don`;
  await assert.rejects(connectToWriter(readOnly, 0), /none takes writes/);
});
