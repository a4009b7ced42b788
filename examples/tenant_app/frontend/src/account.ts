import type { Me } from "./api";

/** Who is signed in, and what they may do. The server decides; this only hides what it would refuse. */
export interface Account {
  me: Me;
  can(permission: string): boolean;
}
