/**
 * HTTP towards services of the operator: kept connections, a bound on what is read, authorities of one's own. Redirects are not
 * followed, since they would carry passwords elsewhere.
 */
import { readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure, Agent as SecureAgent } from 'node:https';
import type { HttpOptions } from '../options.js';
import type { Facts, Place } from './facts.js';
import { QuestionRefused } from './guard.js';
import { Template } from './template.js';

const BODY_BYTES_MAX = 1_048_576;
/** URL and headers: servers take no more, and some cut the connection off instead of saying so. */
const HEAD_LENGTH_MAX = 16_384;

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

export class HttpClient {
  private readonly plain: Agent;
  private secure: SecureAgent | undefined;

  constructor(private readonly options: { readonly connectionsMax: number; readonly caFile?: string | undefined }) {
    this.plain = new Agent(keptBy(options.connectionsMax));
  }

  /** Errors  Error when there is no whole answer. */
  send({ url, method, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const secure = url.startsWith('https:');
    return new Promise((resolve, reject) => {
      const options = {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
        signal,
      };
      let answering = false;
      const take = (response: IncomingMessage): void => {
        answering = true;
        readBody(response).then(
          (text) =>
            resolve({
              status: response.statusCode ?? 0,
              contentType: String(response.headers['content-type'] ?? ''),
              text,
            }),
          reject,
        );
      };
      const request = secure
        ? requestSecure(url, { ...options, agent: this.secureAgent() }, take)
        : requestPlain(url, { ...options, agent: this.plain }, take);
      request.on('error', (error: NodeJS.ErrnoException) => {
        // The service closed a kept connection when this request was on its way: it has not read it.
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        if (stale && !signal.aborted && !answering)
          this.send({ url, method, headers, body }, signal).then(resolve, reject);
        else reject(error);
      });
      request.end(body);
    });
  }

  close(): void {
    this.plain.destroy();
    this.secure?.destroy();
  }

  /** Made with the first request that needs it: a file that cannot be read is a source that gives no answer. */
  private secureAgent(): SecureAgent {
    const { connectionsMax, caFile } = this.options;
    this.secure ??= new SecureAgent({
      ...keptBy(connectionsMax),
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    });
    return this.secure;
  }
}

const keptBy = (connectionsMax: number) => ({
  keepAlive: true,
  maxSockets: connectionsMax,
  maxFreeSockets: connectionsMax,
});

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) {
      response.destroy();
      throw new Error(`the answer has more than ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A request with variables. */
export class HttpCall {
  private readonly url: Template;
  private readonly headers: readonly (readonly [string, Template])[];
  private readonly body: readonly (readonly [string, Template])[];

  constructor(
    private readonly options: HttpOptions,
    place: Place,
  ) {
    const templates = (texts: Readonly<Record<string, string>>) =>
      Object.entries(texts).map(([name, text]) => [name, new Template(text, place)] as const);
    this.url = new Template(options.url, place);
    this.headers = templates(options.headers);
    this.body = templates(options.body);
  }

  /**
   * Undefined when the client lacks a variable of the URL or a header; in a body, what it lacks is left out.
   * Errors  QuestionRefused where a value would make another request of it.
   */
  fill(facts: Facts): HttpRequest | undefined {
    const url = this.url.fill(facts, encodeURIComponent);
    if (url === undefined) return undefined;
    // Encoded or not, such a segment takes the one before it away.
    if (/\/\.{1,2}(?:[/?#]|$)/.test(url.slice(url.indexOf('//') + 2)))
      throw new QuestionRefused('a value of this client would be a step in the path of the URL');
    const headers: Record<string, string> = {};
    for (const [name, template] of this.headers) {
      const value = template.fill(facts);
      // A value with line breaks would be other headers.
      if (value === undefined) return undefined;
      if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
        throw new QuestionRefused(`a value of this client cannot be in header ${name}`);
      headers[name.toLowerCase()] = value;
    }
    let length = url.length;
    for (const [name, value] of Object.entries(headers)) length += name.length + value.length;
    if (length > HEAD_LENGTH_MAX) throw new QuestionRefused('the values of this client make the request too long');
    const { method, bodyFormat } = this.options;
    if (method === 'GET') return { url, method, headers, body: undefined };
    const values: Record<string, string> = {};
    for (const [name, template] of this.body) {
      const value = template.fill(facts);
      if (value !== undefined) values[name] = value;
    }
    const json = bodyFormat === 'json';
    headers['content-type'] ??= json ? 'application/json' : 'application/x-www-form-urlencoded';
    return { url, method, headers, body: json ? JSON.stringify(values) : new URLSearchParams(values).toString() };
  }
}

/** The object of an answer in JSON; undefined when it is none. */
function jsonObject({ contentType, text }: HttpAnswer): Record<string, unknown> | undefined {
  if (!/\bjson\b/i.test(contentType) && !text.trimStart().startsWith('{')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('the answer is no JSON'); // the parser would quote it
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('the answer is no object');
  return value as Record<string, unknown>;
}

/** Of requests that the service finds wrong or too long, for which a client with an odd or a very long name is enough. */
const refusedStatuses = [400, 413, 414, 422, 431];

/**
 * What an answer says: by its `result`, else by its status. 204 and an empty 200 allow, 401 and 403 deny, 404 passes on.
 * Errors  QuestionRefused; Error for everything else, which is no answer.
 */
export function resultOf(answer: HttpAnswer): { result: 'allow' | 'deny' | 'ignore'; more: Record<string, unknown> } {
  const { status } = answer;
  if (status === 401 || status === 403) return { result: 'deny', more: {} };
  if (status === 404) return { result: 'ignore', more: {} };
  if (status === 204 || (status === 200 && answer.text.trim() === '')) return { result: 'allow', more: {} };
  if (refusedStatuses.includes(status)) throw new QuestionRefused(`the service answered with status ${status}`);
  if (status !== 200) throw new Error(`answered with status ${status}`);
  const more = jsonObject(answer) ?? { result: answer.text.trim() };
  const { result } = more;
  if (result === 'allow' || result === 'deny' || result === 'ignore') return { result, more };
  throw new Error('the answer has no result, which is allow, deny or ignore');
}
