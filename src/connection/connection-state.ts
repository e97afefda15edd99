/** Drawn at the top of `connection.ts`. */
export const ConnectionState = { Opening: 0, Authenticating: 1, Connected: 2, Closed: 3 } as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];
