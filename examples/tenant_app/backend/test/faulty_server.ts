import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

/** A web server that gives every request the same treatment: what a storage says or does in a state that no test can bring a real one into. */
export async function faultyServer(treatment: RequestListener): Promise<{ address: string; requests: () => number; close(): void }> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    request.resume();
    treatment(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: () => requests, close };
}
