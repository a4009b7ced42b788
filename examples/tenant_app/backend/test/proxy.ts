import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** Stands between an instance and a database server, and does to the connection what a failover does. */
export class Proxy {
  /** "hang" passes nothing on and closes nothing, as a server without power; "refuse" ends every connection. */
  private mode: "pass" | "hang" | "refuse" = "pass";
  private lost: string | undefined;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async before(url: string): Promise<Proxy> {
    const { hostname, port } = new URL(url);
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const own = new URL(url);
    own.hostname = "127.0.0.1";
    own.port = String((server.address() as AddressInfo).port);
    const proxy = new Proxy(server, own.href);
    server.on("connection", (client) => proxy.serve(client, connect(Number(port || 5432), hostname)));
    return proxy;
  }

  set(mode: "pass" | "hang" | "refuse"): void {
    this.mode = mode;
    if (mode === "refuse") for (const socket of this.sockets) socket.destroy();
  }

  /** The next answer that has this in it never arrives: its connection breaks instead. */
  lose(answer: string): void {
    this.lost = answer;
  }

  close(): void {
    this.set("refuse");
    this.server.close();
  }

  private serve(client: Socket, upstream: Socket): void {
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    if (this.mode === "refuse") client.destroy();
    client.on("data", (data) => {
      if (this.mode === "pass") upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (this.lost !== undefined && data.includes(this.lost)) {
        this.lost = undefined;
        client.destroy();
      } else if (this.mode === "pass") client.write(data);
    });
  }
}
