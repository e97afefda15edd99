/**
 * Asks OCSP responders, with a time limit, a size limit and a cache: about client certificates, and for the response that is
 * stapled to our own.
 *
 * Refuses  to throw: a responder that is silent, broken or lying means that nothing is known.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { type CertificateStatus, ocspRequest, readOcspResponse, responderUrl } from './ocsp-message.js';

const RESPONSE_BYTES_MAX = 65_536;
const CACHE_ENTRIES_MAX = 10_000;
/** Answers are asked for again after this, however long they are valid. */
const CACHE_MS_MAX = 3_600_000;
/** A responder that failed is left alone so long. */
const FAILURE_MS = 30_000;

interface Cached<Value> {
  readonly value: Promise<Value>;
  untilMs: number;
}

/** The last answers by key, the oldest gone first; questions asked at the same time share one answer. */
class AnswerCache<Value> {
  private readonly entries = new Map<string, Cached<Value>>();

  get(key: string, ask: () => Promise<{ value: Value; untilMs: number }>): Promise<Value> {
    const known = this.entries.get(key);
    if (known !== undefined && known.untilMs > Date.now()) return known.value;
    const asked = ask();
    const entry: Cached<Value> = { value: asked.then(({ value }) => value), untilMs: Number.POSITIVE_INFINITY };
    asked.then(
      ({ untilMs }) => {
        entry.untilMs = untilMs;
      },
      () => this.entries.delete(key),
    );
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= CACHE_ENTRIES_MAX) break;
      this.entries.delete(oldest);
    }
    return entry.value;
  }

  clear(): void {
    this.entries.clear();
  }
}

/** Status of client certificates. */
export class OcspChecker {
  private readonly cache = new AnswerCache<CertificateStatus | undefined>();

  constructor(private readonly timeoutMs: number) {}

  /** Undefined when no responder gave an answer that can be believed. */
  statusOf(certificate: X509Certificate, issuer: X509Certificate): Promise<CertificateStatus | undefined> {
    return this.cache.get(certificate.fingerprint256, async () => {
      const answer = await askResponder(certificate.raw, issuer, this.timeoutMs);
      return { value: answer?.status, untilMs: answer === undefined ? Date.now() + FAILURE_MS : answer.untilMs };
    });
  }

  forget(): void {
    this.cache.clear();
  }
}

/** The response that a client asks for with our certificate. */
export class OcspStapler {
  private readonly cache = new AnswerCache<Buffer | undefined>();

  constructor(private readonly timeoutMs: number) {}

  response(certificate: Buffer, issuer: Buffer | undefined): Promise<Buffer | undefined> {
    if (issuer === undefined) return Promise.resolve(undefined);
    const key = createHash('sha256').update(certificate).digest('hex');
    return this.cache.get(key, async () => {
      const answer = await askResponder(certificate, new X509Certificate(issuer), this.timeoutMs);
      if (answer === undefined) return { value: undefined, untilMs: Date.now() + FAILURE_MS };
      return { value: answer.response, untilMs: answer.untilMs };
    });
  }
}

interface Answer {
  readonly status: CertificateStatus;
  readonly response: Buffer;
  readonly untilMs: number;
}

async function askResponder(
  certificate: Buffer,
  issuer: X509Certificate,
  timeoutMs: number,
): Promise<Answer | undefined> {
  try {
    const url = responderUrl(certificate);
    if (url === undefined) return undefined;
    const reply = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request' },
      body: ocspRequest(certificate, issuer.raw),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!reply.ok) return undefined;
    const response = await readLimited(reply);
    if (response === undefined) return undefined;
    const nowMs = Date.now();
    const { status, nextUpdateMs } = readOcspResponse(response, certificate, issuer, nowMs);
    const untilMs = Math.min(nextUpdateMs ?? Number.POSITIVE_INFINITY, nowMs + CACHE_MS_MAX);
    return { status, response, untilMs };
  } catch {
    return undefined;
  }
}

async function readLimited(reply: Response): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of reply.body ?? []) {
    bytes += chunk.length;
    if (bytes > RESPONSE_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
