/**
 * A queue has lanes: what overtakes, and what is kept apart. A lane's number is a byte, and lower numbers go first:
 *
 *   (63 - priority) in the upper six bits, the kind in the lower two
 */
export const PRIORITY_MAX = 63;

export const LaneKind = {
  /** QoS 1 and 2, and QoS 0 where nothing is stored. */
  Plain: 0,
  /** What came by shared subscriptions: it may be handed on. */
  Shared: 1,
  /** QoS 0 that is stored: it can be dropped before the others. */
  Qos0: 2,
  /** Not stored though the session is. */
  Volatile: 3,
} as const;
export type LaneKind = (typeof LaneKind)[keyof typeof LaneKind];

export function laneNumber(priority: number, kind: LaneKind): number {
  return ((PRIORITY_MAX - priority) << 2) | kind;
}

export function priorityOf(lane: number): number {
  return PRIORITY_MAX - (lane >> 2);
}

export function kindOf(lane: number): LaneKind {
  return (lane & 3) as LaneKind;
}
