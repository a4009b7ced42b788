/** Tokens that must no longer be believed although their signature is good and their time is not up. */
export interface RevocationList {
  revoke(tokenId: string, expiresAt: Date): Promise<void>;
  isRevoked(tokenId: string): Promise<boolean>;
}

/** Without a store that all instances share, a logout cannot reach the others: tokens then live until they expire. */
export const noRevocation: RevocationList = {
  revoke: async () => {},
  isRevoked: async () => false,
};
