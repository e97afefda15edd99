export const durabilityModes = ['memory', 'buffered', 'sync', 'faultTolerant'] as const;
/** When something counts as stored: see the README of this folder. */
export type DurabilityMode = (typeof durabilityModes)[number];
