/**
 * Reads JSON that others wrote: the file and the commands. Names of fields count in any case, as they do for Mosquitto, whose own
 * tool writes `textName` where its plugin reads `textname`.
 */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function fieldOf(object: JsonObject, name: string): unknown {
  if (Object.hasOwn(object, name)) return object[name];
  const wanted = name.toLowerCase();
  const found = Object.keys(object).find((key) => key.toLowerCase() === wanted);
  return found === undefined ? undefined : object[found];
}

export function textOf(object: JsonObject, name: string): string | undefined {
  const value = fieldOf(object, name);
  return typeof value === 'string' ? value : undefined;
}

export function flagOf(object: JsonObject, name: string, otherwise: boolean): boolean {
  const value = fieldOf(object, name);
  return typeof value === 'boolean' ? value : otherwise;
}

export function numberOf(object: JsonObject, name: string, otherwise: number): number {
  const value = fieldOf(object, name);
  return typeof value === 'number' && Number.isFinite(value) ? Math.trunc(value) : otherwise;
}

/** Control characters, surrogates on their own and code points that are no characters are in no name [MQTT-1.5.4-1]. */
export function isCleanText(text: string): boolean {
  return !/[\u0000-\u001f\u007f-\u009f\p{Cs}\p{Noncharacter_Code_Point}]/u.test(text);
}
